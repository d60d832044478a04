"""One worker, joined: marks, attendance, engine, consumer; and how it ends without losing work."""

import os
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Final

import structlog

from services.engine.batch_limits import BatchLimits
from services.engine.device_plan import plan_for_device
from services.engine.devices import ArithmeticWish, choose_device, device_uuid, set_threads
from services.engine.drawing_model import DiffusionModel
from services.engine.engine import Engine
from services.engine.loading import load_model
from services.engine.memory_plan import GB, MemoryPlan, native_key
from services.engine.residence import Residence
from services.liveness.pulse import Loop, Pulse, pulse_path
from services.worker.attendance import Attendance
from services.worker.consumer import Consumer
from services.worker.in_flight import InFlight
from services.worker.meter_client import MeterClient
from services.worker.recorder_client import RecorderClient
from services.worker.rendering import Renderer
from services.worker.settings import Settings
from services.worker.slots import Slots
from services.worker.work import Beat, Truth
from tenants.ids import GpuId, SessionId, gpu_id_of

# Pictures on their way out; encoding one takes a fraction of drawing it.
_FINISHERS: Final = 4
# A drained image is handed back within a step; then the recorder has to be told.
_HAND_BACK_SECONDS: Final = 15.0

log = structlog.get_logger()


class Worker:
    """Draws one tenant's images on one device until it is told to stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = Event()
        self._hurry = Event()
        self._giving_up = Event()
        self._engine: Engine | None = None
        self._consumer: Consumer | None = None
        self._ready = False
        self._slots = Slots(
            batch_slots=settings.batch_slots, interactive_slots=settings.interactive_slots
        )
        self._in_flight = InFlight()
        self._device = choose_device(
            settings.device,
            ArithmeticWish(
                backend=settings.backend,
                fp8_recipe=settings.fp8_recipe,
                attention=settings.attention,
                modulation=settings.modulation,
            ),
        )
        session_id = SessionId(settings.session_id)
        self._gpu_id = GpuId(settings.gpu_id) or self._given_gpu()
        self._marks = MeterClient(
            meter=settings.meter_of(self._gpu_id), session_id=session_id, gpu_id=self._gpu_id
        )
        self._recorder = RecorderClient(
            settings.recorder,
            session_id=session_id,
            model=settings.model_name,
            gpu_id=self._gpu_id,
            process_id=os.getpid(),
            precision=self._device.precision,
        )
        self._attendance = Attendance(
            self._recorder,
            heartbeat_seconds=settings.heartbeat_seconds,
            beat=self._beat,
            take_truth=self._take_truth,
        )
        self._pulse = Pulse(pulse_path(), grace_seconds=settings.pulse_grace_seconds)
        self._attending = Loop(
            name="attendance",
            turns=lambda: self._attendance.turns,
            turn_seconds_max=settings.turn_seconds_max,
        )

    def _given_gpu(self) -> GpuId:
        """Name the card that a pod was given as the meter does: by its UUID."""
        named = self._settings.visible_devices
        is_card = named.startswith(("GPU-", "MIG-")) and "," not in named
        return gpu_id_of(named if is_card else device_uuid(self._device.device))

    def stop(self) -> None:
        """Ask the worker to finish what runs and end; may be called from a signal handler.

        Asked once more it hands back what runs, and ends.
        """
        if self._stopping.is_set():
            self._hurry.set()
        self._stopping.set()

    def run(self) -> None:
        """Serve until ``stop`` is called or the recorder says drain.

        Raises:
            ModelLoadError: the model cannot be served; says what to mend.
        """
        self._marks.start()
        self._attendance.start()
        self._pulse.start(self._attending, ready=False)
        try:
            self._engine = self._start_engine()
            self._serve(self._engine)
        finally:
            self._giving_up.set()
            self._pulse.close()
            self._attendance.close()
            if self._engine is not None:
                self._engine.close()
            self._marks.close()
            self._recorder.close()

    def _start_engine(self) -> Engine:
        settings = self._settings
        set_threads(settings.threads)
        plan = plan_for_device(
            settings.model_path,
            self._device,
            settings.memory_wish,
            images_wished=settings.batch_slots,
        )
        if plan is not None:
            self._heed(plan)
        model = load_model(
            settings.model_path,
            device=self._device.device,
            dtype=self._device.dtype,
            marks=self._marks,
            arithmetic=self._device.arithmetic,
            text_encoders=Residence.RESIDENT if plan is None else plan.text_encoders,
            tiled_decoding=plan is not None and plan.tiled_decoding,
        )
        engine = Engine(
            model=DiffusionModel(model),
            batch_slots=settings.batch_slots,
            interactive_slots=settings.interactive_slots,
            marks=self._marks,
            threads=settings.threads,
            limits=BatchLimits(plan),
        )
        engine.start()
        return engine

    def _heed(self, plan: MemoryPlan) -> None:
        """Claim no more images than the device can step at once; before the first is claimed."""
        images_max = plan.images_max(native_key(plan.request.outline))
        self._slots.limit_batch_slots(images_max)
        log.info(
            "memory_planned",
            images_max=images_max,
            text_encoders=plan.text_encoders,
            tiled_decoding=plan.tiled_decoding,
            weights_gb=round(plan.weights_bytes / GB, 2),
            free_gb=round(plan.request.free_bytes / GB, 2),
        )

    def _serve(self, engine: Engine) -> None:
        with ThreadPoolExecutor(_FINISHERS, thread_name_prefix="finish") as finishers:
            renderer = Renderer(
                engine=engine,
                recorder=self._recorder,
                slots=self._slots,
                in_flight=self._in_flight,
                finishers=finishers,
                hasten_heartbeat=self._attendance.hasten,
                giving_up=self._giving_up,
            )
            consumer = Consumer(
                broker=self._settings.broker,
                queue=self._settings.model_name,
                threads=self._settings.batch_slots + self._settings.interactive_slots,
                render_image=renderer.render_image,
            )
            self._consumer = consumer
            self._ready = True
            self._attendance.hasten()
            consumer.start()
            drawing = Loop(
                name="engine",
                turns=lambda: engine.step_counter,
                turn_seconds_max=self._settings.engine_stall_seconds,
            )
            fetching = Loop(
                name="consumer",
                turns=lambda: consumer.turns,
                turn_seconds_max=self._settings.turn_seconds_max,
            )
            self._pulse.watch(self._attending, drawing, fetching, ready=True)
            log.info("ready", gpu=self._gpu_id, model=self._settings.model_name)
            self._wait_for_the_end(consumer)
            self._pulse.watch(self._attending, drawing, ready=False)
            self._drain(engine, consumer)

    def _wait_for_the_end(self, consumer: Consumer) -> None:
        while not self._stopping.wait(1.0):
            if not consumer.is_alive:
                log.error("consumer_ended", reason="Celery's worker stopped by itself")
                return

    def _drain(self, engine: Engine, consumer: Consumer) -> None:
        """Let what runs end; what does not end in time goes back into the queue."""
        log.info("draining", held_images=self._in_flight.count())
        self._ready = False
        self._slots.drain()
        consumer.stop()
        drain_seconds = self._settings.drain_seconds
        if not self._in_flight.wait_unless(self._hurry, timeout_seconds=drain_seconds):
            for key in self._in_flight.mark_all_drained():
                engine.cancel(key)
            self._in_flight.wait_until_empty(_HAND_BACK_SECONDS)
        # Whoever still waits for the recorder gives up: the lease's end brings the image back.
        self._giving_up.set()
        log.info("drained", held_images=self._in_flight.count())

    def _beat(self) -> Beat:
        counts = self._slots.counts()
        return Beat(
            ready=self._ready,
            batch_slots_free=counts.batch_slots_free,
            interactive_slots_free=counts.interactive_slots_free,
            waiting_tokens=counts.waiting_tokens,
            engine_step_counter=self._engine.step_counter if self._engine else 0,
            garbage_tokens=self._consumer.garbage_count if self._consumer else 0,
            progress=self._in_flight.progress(),
        )

    def _take_truth(self, truth: Truth) -> None:
        self._slots.tell_interactive(truth.interactive_images_waiting)
        self._slots.tell_alone(truth.alone_images_waiting, overdue=truth.alone_image_overdue)
        for key in self._in_flight.mark_cancelled(truth):
            if self._engine is not None:
                self._engine.cancel(key)
        if self._engine is not None:
            self._engine.set_duty_cycle(truth.duty_cycle)
        if truth.drain:
            self._stopping.set()
