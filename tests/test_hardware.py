"""What a machine is told, found out about itself, and refused."""

from pathlib import Path

import pytest

from reasoning_lab.config import ConfigError
from reasoning_lab.experiment import compose, differences, what_it_does
from reasoning_lab.hardware import detect
from reasoning_lab.hardware.detect import Machine, this_machine

CONF = Path(__file__).parents[1] / "conf"
EXPERIMENTS = sorted(file.stem for file in (CONF / "experiment").glob("*.yaml"))


def files(root: Path, *names: str, text: str = "") -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def pci(root: Path, count: int, vendor: str, device: str) -> None:
    for number in range(count):
        folder = f"sys/bus/pci/devices/0000:00:{number:02}.0"
        files(root, f"{folder}/vendor", text=f"{vendor}\n")
        files(root, f"{folder}/device", text=f"{device}\n")


def test_a_machine_without_accelerators_is_its_processor(tmp_path: Path) -> None:
    pci(tmp_path, 2, "0x1ae0", "0x0042")  # of Google, but no TPU
    assert this_machine(tmp_path, {}) == Machine("cpu", 1)
    virtual = {"XLA_FLAGS": "--a=b --xla_force_host_platform_device_count=8"}
    assert this_machine(tmp_path, virtual) == Machine("cpu", 8)


@pytest.mark.parametrize(
    ("visible", "cards"), [(None, 2), ("", 0), ("-1", 0), ("1", 1), ("0,1", 2), ("1,-1,0", 1)]
)
def test_nvidia_cards_are_counted_as_cuda_shows_them(
    tmp_path: Path, visible: str | None, cards: int
) -> None:
    files(tmp_path, "dev/nvidiactl", "dev/nvidia0", "dev/nvidia1", "dev/nvidia-uvm")
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert detect.nvidia_gpus(tmp_path, environment) == cards
    expected = Machine("rtx3090", cards) if cards else Machine("cpu", 1)
    assert this_machine(tmp_path, environment) == expected


def test_a_card_under_windows_has_no_number(tmp_path: Path) -> None:
    files(tmp_path, "dev/dxg")
    assert this_machine(tmp_path, {}) == Machine("rtx3090", 1)


def test_tpu_chips_are_counted_on_the_bus(tmp_path: Path) -> None:
    pci(tmp_path, 8, "0x1ae0", "0x0063")
    files(tmp_path, "dev/nvidia0")
    assert this_machine(tmp_path, {}) == Machine("tpu_v5e8", 8)
    assert this_machine(tmp_path, {"JAX_PLATFORMS": "cpu"}) == Machine("cpu", 1)


@pytest.mark.parametrize(
    ("names", "environment", "chips"),
    [
        (("dev/accel0", "dev/accel1", "dev/accel2", "dev/accel3"), {}, 4),
        (("dev/accel/accel0",), {}, 0),  # an NPU
        (("dev/vfio/0", "dev/vfio/1", "dev/vfio/vfio"), {}, 0),  # whose they are, nobody says
        (("dev/vfio/0", "dev/vfio/1", "dev/vfio/vfio"), {"TPU_ACCELERATOR_TYPE": "v5e"}, 2),
        ((), {"TPU_ACCELERATOR_TYPE": "v5litepod-8"}, 8),
        ((), {"TPU_CHIPS_PER_HOST_BOUNDS": "2,2,1"}, 4),
        ((), {"COLAB_TPU_ADDR": "x"}, 1),
    ],
)
def test_tpu_chips_are_found_where_the_bus_is_hidden(
    tmp_path: Path, names: tuple[str, ...], environment: dict[str, str], chips: int
) -> None:
    files(tmp_path, *names)
    assert detect.tpu_chips(tmp_path, environment) == chips


@pytest.mark.parametrize(
    ("found", "words", "expected"),
    [
        (Machine("cpu", 1), [], ("cpu", 1, 1)),
        (Machine("rtx3090", 2), [], ("gpu", 2, 1)),
        (Machine("tpu_v5e8", 8), [], ("tpu", 8, 1)),
        (Machine("tpu_v5e8", 8), ["hardware.tp=2"], ("tpu", 4, 2)),
        (Machine("tpu_v5e8", 4), ["hardware.hosts=4"], ("tpu", 16, 1)),
        (Machine("rtx3090", 2), ["hardware.fsdp=1"], ("gpu", 1, 1)),
    ],
)
def test_auto_takes_all_that_is_there(
    found: Machine,
    words: list[str],
    expected: tuple[str, int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("reasoning_lab.experiment.this_machine", lambda: found)
    composed = compose(["hardware=auto", "stage.batch_tokens=4096", *words]).hardware
    assert (composed.platform, composed.fsdp, composed.tp) == expected
    named = compose([f"hardware={found.choice}", "stage.batch_tokens=4096"]).hardware
    assert composed.rows_per_micro_batch == named.rows_per_micro_batch
    assert composed.chip == named.chip


@pytest.mark.parametrize("machine", ["cpu", "rtx3090", "tpu_v5e8"])
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_moves_between_machines_unchanged(experiment: str, machine: str) -> None:
    """Or says which batch would fill the devices."""
    here = compose([f"experiment={experiment}"])
    words = [f"experiment={experiment}", f"hardware={machine}"]
    try:
        there = compose(words)
    except ConfigError as error:
        (message, *_), remedy = str(error).splitlines(), str(error).partition("Use ")[2]
        assert "cannot share out evenly" in message
        compose([*words, remedy.splitlines()[0].rstrip(".")])
    else:
        assert not differences(here, there)


@pytest.mark.parametrize(
    ("rows", "fsdp", "at_most", "parts"),
    [(8, 1, 2, 4), (8, 1, 8, 1), (8, 1, 100, 1), (6, 1, 4, 2), (7, 1, 4, 7), (32, 8, 3, 2)],
)
def test_a_micro_batch_is_the_largest_that_divides(
    rows: int, fsdp: int, at_most: int, parts: int
) -> None:
    words = [f"hardware.fsdp={fsdp}", f"hardware.rows_per_micro_batch={at_most}"]
    hardware = compose([*words, "stage.batch_tokens=8192"]).hardware
    assert hardware.micro_batches(rows) == parts


MISTAKES = {
    "hardware.tp=8": (
        (
            "hardware.tp=8 devices cannot share out evenly the 4 heads of "
            "model.architecture=gemma3_270m. Of 8 devices these meshes work: hardware.fsdp=8 "
            "hardware.tp=1 or hardware.fsdp=4 hardware.tp=2 or hardware.fsdp=2 hardware.tp=4."
        ),
        "hardware.fsdp=4 hardware.tp=2 stage.batch_tokens=1024",
    ),
    "hardware.tp=3": (
        (
            "the 4 heads and 2048 hidden units of model.architecture=gemma3_270m. Of 3 devices "
            "these meshes work: hardware.fsdp=3 hardware.tp=1."
        ),
        "hardware.fsdp=1 hardware.tp=1",
    ),
    "hardware.fsdp=3 stage.batch_tokens=768": (
        (
            "hardware.generation_batch_size=32 sequences cannot be shared out evenly by "
            "hardware.fsdp=3 devices. Use hardware.generation_batch_size=33."
        ),
        "hardware.generation_batch_size=33",
    ),
    "hardware.hosts=2": (
        "hardware.hosts=2 cannot share out evenly hardware.fsdp=1. Use hardware.fsdp=2.",
        "hardware.fsdp=2",
    ),
    "stage=grpo hardware.fsdp=8 stage.batch_size=8 stage.num_generations=6": (
        (
            "hardware.generation_batch_size=32 samples 5 groups of stage.num_generations=6 at "
            "once, 30 completions, which hardware.fsdp=8 devices cannot share out evenly. "
            "Use hardware.generation_batch_size=24."
        ),
        "hardware.generation_batch_size=24",
    ),
    "hardware.chip=tpuv5": ("Did you mean tpu_v5e? There are: cpu, rtx3090", "hardware.chip=cpu"),
    "hardware=rtx4090": ("Did you mean rtx3090? There are: auto, cpu", "hardware=auto"),
}


@pytest.mark.parametrize("words", MISTAKES)
def test_a_mesh_that_does_not_work_is_refused_with_one_that_does(words: str) -> None:
    told, remedy = MISTAKES[words]
    with pytest.raises(ConfigError) as error:
        compose(words.split(), "on the command line")
    assert told in str(error.value)
    assert "mistakes" not in str(error.value)  # there is one
    compose([*words.split(), *remedy.split()])


def test_machines_do_not_tell_runs_apart_but_sweeps_can(tmp_path: Path) -> None:
    one, other = compose(), compose(["hardware.rows_per_micro_batch=1"])
    assert not differences(one, other)
    assert what_it_does(one) != what_it_does(other)
