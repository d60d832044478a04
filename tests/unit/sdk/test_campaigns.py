import pytest

from atelier.campaigns import CampaignEntry, CampaignError, read_campaign
from atelier.v1.image_pb2 import ImageSpec, OutputFormat
from atelier.v1.job_service_pb2 import JobSpec


def faults(text: str, *, json_lines: bool = False) -> list[tuple[int, str]]:
    with pytest.raises(CampaignError) as caught:
        read_campaign(text, json_lines=json_lines)
    return [(fault.line, fault.column) for fault in caught.value.faults]


def test_a_csv_line_becomes_a_spec_of_the_contract() -> None:
    text = (
        "prompt,negative_prompt,size,num_inference_steps,guidance_scale,seed,model,"
        "output_format,output_quality,client_ref,count,label.shelf\n"
        '"a mug, red",cracks,512x768,20,4.5,7,medium,jpg,80,MUG,1,kitchen\n'
    )

    entries = read_campaign(text, json_lines=False)

    image = ImageSpec(
        prompt="a mug, red",
        negative_prompt="cracks",
        width=512,
        height=768,
        num_inference_steps=20,
        guidance_scale=4.5,
        seed=7,
        model="models/medium",
        output_format=OutputFormat.OUTPUT_FORMAT_JPEG,
        output_quality=80,
        client_ref="MUG",
        labels={"shelf": "kitchen"},
    )
    assert entries == [CampaignEntry(line=2, spec=JobSpec(image=image, count=1))]


def test_empty_cells_leave_the_model_s_defaults() -> None:
    [entry] = read_campaign("prompt,seed,width\na mug,,\n", json_lines=False)

    assert not entry.spec.image.HasField("seed")
    assert entry.spec.image.width == 0


def test_a_byte_order_mark_and_blank_lines_do_no_harm() -> None:
    entries = read_campaign("\ufeffprompt\na mug\n\na lamp\n", json_lines=False)

    assert [(entry.line, entry.spec.image.prompt) for entry in entries] == [
        (2, "a mug"),
        (4, "a lamp"),
    ]


def test_every_bad_cell_is_named_by_line_and_column() -> None:
    text = (
        "prompt,width,size,seed,guidance_scale,output_format\n"
        "a mug,wide,,,,\n"
        ",,512,,,\n"
        "a lamp,,,-1,strong,bmp\n"
    )

    assert faults(text) == [
        (2, "width"),
        (3, "size"),
        (3, "prompt"),
        (4, "seed"),
        (4, "guidance_scale"),
        (4, "output_format"),
    ]


def test_a_line_after_a_prompt_of_two_lines_keeps_its_number() -> None:
    assert faults('prompt,width\n"a mug\non a table",16\na lamp,x\n') == [(4, "width")]


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("prompt,colour\na mug,red\n", [(1, "colour")]),
        ("prompt,seed,seed\na mug,1,2\n", [(1, "seed")]),
        ("width\n512\n", [(1, "prompt")]),
        ("prompt,label.\na mug,x\n", [(1, "label.")]),
        ("prompt\na mug, red\n", [(2, "")]),
        ("", [(1, "prompt")]),
        ("prompt\n", [(1, "")]),
        ('prompt\n"a mug\n', [(2, "")]),
    ],
)
def test_what_is_wrong_with_a_file_is_told(text: str, where: list[tuple[int, str]]) -> None:
    assert faults(text) == where


def test_a_number_too_large_for_any_field_is_a_fault_and_no_crash() -> None:
    assert faults(f"prompt,width\na mug,{2**31}\n") == [(2, "width")]
    assert faults(f"prompt,seed\na mug,{2**64}\n") == [(2, "seed")]


def test_json_lines_say_the_same_as_csv() -> None:
    text = '{"prompt": "a mug", "seed": 7, "labels": {"shelf": "a"}, "model": null}\n\n'

    [entry] = read_campaign(text, json_lines=True)

    assert entry.spec.image == ImageSpec(prompt="a mug", seed=7, labels={"shelf": "a"})


def test_json_lines_name_their_faults_too() -> None:
    text = '{"prompt": "a mug", "colour": "red"}\n{"prompt": 1.5, "seed": 1.5}\n[]\nno\n'

    assert faults(text, json_lines=True) == [(1, "colour"), (2, "seed"), (3, ""), (4, "")]
