/** One picture while somebody waits for it, and the models there are. */

import { Calls, newRequestId } from "./calls.js";
import { resumed } from "./connection.js";
import {
  type GenerateImageResponse,
  ImageService,
} from "./contract/atelier/v1/image_service_pb.js";
import { type Model, ModelService } from "./contract/atelier/v1/model_service_pb.js";
import type { Money } from "./contract/atelier/v1/money_pb.js";
import type { ImageSpecInit } from "./job-calls.js";
import { topName } from "./names.js";
import { entriesOfPages } from "./pages.js";

/** What a single picture can say besides its spec. */
export interface StreamImageOptions {
  readonly previews?: boolean;
  readonly maxCost?: Money;
  readonly project?: string;
  readonly requestId?: string;
}

/** The calls of ImageService and ModelService. */
export class ImageCalls extends Calls {
  /**
   * Draw one picture and yield its news, previews and bytes on one stream.
   *
   * Whoever stops listening cancels it after ten seconds. After a broken connection the picture is
   * told anew from where it is: a `file` message always begins its bytes.
   */
  streamImage(
    spec: ImageSpecInit,
    { previews = true, requestId, ...options }: StreamImageOptions = {},
  ): AsyncGenerator<GenerateImageResponse, void, undefined> {
    const { generateImage } = this.connection.service(ImageService);
    const request = {
      parent: this.parent,
      requestId: newRequestId(requestId),
      spec,
      previews,
      ...options,
    };
    const stream = () => this.connection.stream(generateImage, request);
    return resumed(stream, this.connection.retryPolicy);
  }

  /** Yield the models the tenant may use, the default first. */
  listModels(): AsyncGenerator<Model, void, undefined> {
    const { listModels } = this.connection.service(ModelService);
    const fetch = (pageToken: string) => this.connection.call(listModels, { pageToken });
    return entriesOfPages(fetch, (page) => page.models);
  }

  getModel(model: string): Promise<Model> {
    const { getModel } = this.connection.service(ModelService);
    return this.connection.call(getModel, { name: topName("models", model) });
  }
}
