"""Weights files in every layout that training scripts leave, and what is refused, with what is said."""

import argparse
import io
import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from summit_dask.facts.errors import WeightsError
from summit_dask.network.weights import Expected, read_state

NETWORK = nn.Sequential()
NETWORK.conv, NETWORK.norm, NETWORK.fc = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Linear(4, 2)
STATE = NETWORK.state_dict()
OTHER = {name: tensor + 1 for name, tensor in STATE.items()}

KEYS = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "ema",
    "state_dict_ema",
    "params",
    "network",
    "weights",
    "a.b",
)
PREFIXES = ("module", "_orig_mod", "model", "net", "network", "backbone", "0", "conv", "ema.module")
BESIDE = {
    "epoch": 3,
    "loss": 0.1,
    "best": np.float64(0.9),
    "steps": np.int64(7),
    "args": argparse.Namespace(lr=0.1),
    "n_averaged": torch.tensor(3),
    "optimizer": {"state": {0: {"step": torch.tensor(3.0), "exp_avg": torch.ones(4, 3, 1, 1)}}, "param_groups": [{}]},
}


def longer(state: dict[str, Tensor], *prefixes: str) -> dict[str, Tensor]:
    prefix = "".join(f"{part}." for part in prefixes)
    return {prefix + name: tensor for name, tensor in state.items()}


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def check_read(path: Path, key: str | None = None, own: str = "", expected: dict[str, Tensor] = STATE) -> None:
    """The file gives a network's tensors by its names, which begin with `own`."""
    state = read_state(path, Expected({own + name: tensor for name, tensor in STATE.items()}), key)
    assert list(state) == [own + name for name in STATE]
    for name, tensor in expected.items():
        if not name.endswith("num_batches_tracked"):
            assert state[own + name].dtype == tensor.dtype
            assert torch.equal(state[own + name], tensor), name


@given(
    keys=st.lists(st.sampled_from(KEYS), max_size=3),
    prefixes=st.lists(st.sampled_from(PREFIXES), max_size=3),
    own=st.sampled_from(["", "", "model.", "module.", "net.model."]),
    beside=st.sets(st.sampled_from(sorted(BESIDE))),
    counted=st.booleans(),
)
@settings(deadline=None, max_examples=150)
def test_any_nesting_and_any_prefix_give_the_same_weights(
    tmp_path_factory: pytest.TempPathFactory,
    keys: Sequence[str],
    prefixes: Sequence[str],
    own: str,
    beside: set[str],
    counted: bool,
) -> None:
    state = {name: tensor for name, tensor in STATE.items() if counted or not name.endswith("num_batches_tracked")}
    content: Any = longer({own + name: tensor for name, tensor in state.items()}, *prefixes)
    for key in reversed(keys):
        content = {key: content}
    content |= {name: BESIDE[name] for name in beside}
    path = saved(tmp_path_factory.getbasetemp() / "layout.pt", content)
    check_read(path, own=own)
    check_read(path, ".".join([*keys, *prefixes]), own)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_other_precisions_come_as_they_are(tmp_path: Path, dtype: torch.dtype, ending: str) -> None:
    state = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in STATE.items()}
    path = tmp_path / f"w.{ending}"
    (torch.save if ending == "pt" else save_file)(longer(state, "module"), path)
    check_read(path, expected=state)


def test_an_averaged_model(tmp_path: Path) -> None:
    check_read(saved(tmp_path / "w.pt", AveragedModel(NETWORK).state_dict()))


def test_a_network_that_was_wrapped_after_its_weights_were_saved(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pt", {"model": longer(STATE, "module")})
    for own in ("net.", "0.net.", "conv."):
        check_read(path, own=own)


def test_a_wrapper_whose_name_stands_in_the_network_too(tmp_path: Path) -> None:
    inner = {name: torch.full((2,), float(index)) for index, name in enumerate(["a", "net.a", "b"])}
    wrapped = {f"net.{name}": tensor for name, tensor in inner.items()}
    state = read_state(saved(tmp_path / "w.pt", inner), Expected(wrapped))
    assert all(torch.equal(state[name], tensor) for name, tensor in wrapped.items())


def test_numbers_of_numpy_1_are_read(tmp_path: Path) -> None:
    """Its module had another name."""
    new = saved(tmp_path / "new.pt", {"model": STATE, "best": np.float32(0.9)})
    old = tmp_path / "old.pt"
    with zipfile.ZipFile(new) as source, zipfile.ZipFile(old, "w") as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename.endswith("data.pkl"):
                assert b"numpy._core.multiarray" in content
                content = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            target.writestr(entry.filename, content)
    check_read(old)


def test_weights_that_are_no_numbers_are_read_as_they_are(tmp_path: Path) -> None:
    """They don't equal themselves; the extractor tells where they come from."""
    state = read_state(saved(tmp_path / "w.pt", {**STATE, "fc.bias": torch.full((2,), torch.nan)}), Expected(STATE))
    assert state["fc.bias"].isnan().all()


# Several networks in one file


@pytest.mark.parametrize(
    ("content", "keys"),
    [
        ({"state_dict": STATE, "state_dict_ema": OTHER}, ("state_dict", "state_dict_ema")),
        ({"model": longer(STATE, "module"), "ema": {"module": OTHER}}, ("model.module", "ema.module")),
        ({"state_dict": {**longer(STATE, "student"), **longer(OTHER, "teacher")}},
         ("state_dict.student", "state_dict.teacher")),
        ({**STATE, "ema": OTHER}, ("", "ema")),
        ({"model": {**STATE, "ema": OTHER}}, ("model", "model.ema")),
        ({"first": STATE, "more": {"model": OTHER, "epoch": 1}}, ("first", "more")),
    ],
)  # fmt: skip
def test_of_several_networks_one_has_to_be_named(tmp_path: Path, content: Any, keys: tuple[str, str]) -> None:
    path = saved(tmp_path / "w.pt", content)
    with pytest.raises(WeightsError, match=r"2 times, and they differ.*--weights-key") as caught:
        check_read(path)
    assert all(f"'{key}" in str(caught.value) for key in keys)
    for key, state in zip(keys, (STATE, OTHER), strict=True):
        check_read(path, key, expected=state)


def test_another_precision_is_another_network(tmp_path: Path) -> None:
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in STATE.items()}
    with pytest.raises(WeightsError, match=r"2 times, .*'model', 'half'"):
        check_read(saved(tmp_path / "w.pt", {"model": STATE, "half": half}))


def test_equal_networks_need_no_name(tmp_path: Path) -> None:
    copy = {name: tensor.clone() for name, tensor in STATE.items()}
    check_read(saved(tmp_path / "w.pt", {"model": STATE, "best": longer(copy, "module")}))


def test_what_has_the_names_but_other_shapes_is_not_the_network(tmp_path: Path) -> None:
    wide = {**OTHER, "conv.weight": torch.ones(9, 3, 1, 1)}
    check_read(saved(tmp_path / "w.pt", {"wide": wide, "model": STATE}))


def test_a_key_that_leads_nowhere(tmp_path: Path) -> None:
    path = saved(tmp_path / "w.pt", {"model": longer(STATE, "module"), "ema": OTHER})
    with pytest.raises(WeightsError, match=r"under the key 'emma'\. Did you mean 'ema'"):
        check_read(path, "emma")


# What is refused


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(1)], "holds a list, expected a state dict"),
        (torch.ones(1), "holds a Tensor"),
        ({}, "holds a dict, expected"),
        ({"epoch": 1, "lr": 0.1}, "holds a dict with the keys epoch, lr, expected"),
        ({"model": {"body.weight": torch.ones(1)}, "ema": {"a": torch.ones(1)}},
         r"None of the tensors .* file has under 'model' body\.weight; under 'ema' a; the network has conv\.weight, "),
        ({"some": {"fc.bias": torch.ones(2)}, "net": {k: v for k, v in STATE.items() if k != "norm.bias"}},
         r"key 'net',.* 1 missing \(norm\.bias\)"),
        ({**STATE, "fc2.weight": torch.ones(1)}, r"1 unexpected \(fc2\.weight\)"),
        ({**STATE, "temperature": torch.tensor(0.5)}, r"1 unexpected \(temperature\)"),
        ({**STATE, "fc.bias": torch.ones(3)}, r"1 of another shape \(fc\.bias \(3,\) instead of \(2,\)\)"),
        ({**STATE, "fc.bias": torch.ones(2, dtype=torch.int8)}, r"another kind \(fc\.bias torch\.int8 instead of .*32"),
    ],
)  # fmt: skip
def test_files_that_hold_something_else(tmp_path: Path, content: Any, message: str) -> None:
    path = saved(tmp_path / "w.pt", content)
    with pytest.raises(WeightsError, match=message) as caught:
        check_read(path)
    assert str(path) in str(caught.value)


def test_a_message_names_a_few_of_many_tables(tmp_path: Path) -> None:
    states = {number: {"exp_avg": torch.ones(1)} for number in range(500)}
    with pytest.raises(WeightsError, match=r"under 'state\.4' exp_avg; …; the network has") as caught:
        check_read(saved(tmp_path / "w.pt", {"state": states}))
    assert len(str(caught.value)) < 500 + len(str(tmp_path))


@pytest.mark.parametrize(
    ("bias", "message"),
    [
        ({}, r"1 missing \(fc\.bias\)"),
        ({"fc.bias": torch.tensor(1.0)}, r"1 of another shape \(fc\.bias \(\) instead of \(7,\)\)"),
        ({"fc.bias": torch.ones(6)}, r"1 of another shape \(fc\.bias \(6,\) instead of \(7,\)\)"),
    ],
)
def test_a_file_of_other_classes_that_does_not_fit(tmp_path: Path, bias: dict[str, Tensor], message: str) -> None:
    state = {name: tensor for name, tensor in STATE.items() if name != "fc.bias"}
    path = saved(tmp_path / "w.pt", {**state, "fc.weight": torch.ones(7, 4), **bias})
    with pytest.raises(WeightsError, match=message):
        read_state(path, Expected(STATE, class_sized=("fc.weight", "fc.bias")))


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    state = {name: tensor for name, tensor in STATE.items() if not name.startswith("fc")}
    path = saved(tmp_path / "w.pt", {**state, "head": torch.ones(1), "conv.weight": torch.ones(5, 3, 1, 1)})
    with pytest.raises(WeightsError, match=r"9 tensors: 2 missing .*; 1 unexpected .*; 1 of another shape"):
        check_read(path)


class Malicious:
    def __reduce__(self) -> Any:
        return exec, ("raise SystemExit('ran')",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_other_pickles_are_refused_by_name_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    for content, name in ((Malicious(), "builtins.exec"), (NETWORK, "torch.nn.modules.container.Sequential")):
        with pytest.raises(WeightsError, match=rf"objects beside tensors \(.*{name}.*refused"):
            check_read(saved(path, content))
    path.write_bytes(pickle.dumps(Malicious()))
    with pytest.raises(WeightsError, match="refused"):
        check_read(path)


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_damaged_file_never_ends_in_a_traceback(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"w.{ending}"
    (torch.save if ending == "pt" else save_file)(dict(STATE), path)
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    damaged = [b"", b"no tensors at all", whole[:100], whole[: len(whole) // 2], random.bytes(300)]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=r"refused|no safetensors"):
            check_read(path)


def test_a_pickle_of_random_bytes_never_ends_in_a_traceback(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(dict(STATE), buffer, _use_new_zipfile_serialization=False)
    random = np.random.default_rng(0)
    for _ in range(200):
        content = bytearray(buffer.getvalue())
        for index in random.integers(0, 600, 3):
            content[index] = random.integers(256)
        (tmp_path / "w.pt").write_bytes(content)
        try:
            read_state(tmp_path / "w.pt", Expected(STATE))
        except WeightsError as error:
            assert str(tmp_path) in str(error)


def test_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.pt"):
        with pytest.raises(WeightsError, match="no weights file"):
            check_read(path)


def test_names_of_wrappers_inside_a_network(tmp_path: Path) -> None:
    """As of a VGG whose features alone were trained on several devices."""
    own = {"features.conv.weight": torch.ones(4, 3, 1, 1), "fc.bias": torch.ones(2)}
    names = {"features.conv.weight": "_orig_mod.features.module.conv.weight", "fc.bias": "_orig_mod.fc.bias"}
    path = saved(tmp_path / "w.pt", {"model": {names[name]: tensor for name, tensor in own.items()}})
    state = read_state(path, Expected(own))
    assert all(torch.equal(state[name], tensor) for name, tensor in own.items())


def test_another_layout_is_converted(tmp_path: Path) -> None:
    def convert(state: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name.replace("stem", "conv"): tensor for name, tensor in state.items()}

    other = {name.replace("conv", "stem"): tensor for name, tensor in STATE.items()}
    expected = Expected(STATE, convert=convert)
    state = read_state(saved(tmp_path / "w.pt", {"model": longer(other, "module")}), expected)
    assert torch.equal(state["conv.weight"], STATE["conv.weight"])
    with pytest.raises(WeightsError, match="has x; the network has conv"):
        read_state(saved(tmp_path / "w.pt", {"x": torch.ones(1)}), Expected(STATE, convert=lambda state: state["y"]))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_torchscript_is_refused_without_the_advice_to_run_it(tmp_path: Path) -> None:
    torch.jit.script(nn.Sequential(nn.Linear(2, 2))).save(tmp_path / "w.pt")
    with pytest.raises(
        WeightsError, match=r"w\.pt is TorchScript, .*torch\.jit\.load\(file\)\.state_dict\(\)"
    ) as refused:
        read_state(tmp_path / "w.pt", Expected(STATE))
    assert "weights_only" not in str(refused.value)
