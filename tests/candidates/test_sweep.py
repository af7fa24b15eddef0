"""Sweeps: which rows they make, which networks are one, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from scalesearch.candidates.comparison import load_comparison
from scalesearch.candidates.comparison_rows import group_of, with_rows
from scalesearch.candidates.grid import plan
from scalesearch.candidates.last_map import step_in_last_maps
from scalesearch.candidates.strategies import at_equal_cost
from scalesearch.candidates.sweep import check_sweep, read_sweep, swept
from scalesearch.errors import BaselineError, RecipeError, ScaleSearchError, ScalingError
from scalesearch.models.catalogue import open_baseline
from scalesearch.recipe import load_recipe
from scalesearch.scaling.changes import Value


def test_values_are_read_as_numbers_and_words() -> None:
    read = read_sweep(
        ["spec.stages.se=0, .125,2.5e-1", "spec.head.channels=none,x0.5,640", "spec.stem.pool=true,false"]
    )
    assert read == {
        "spec.stages.se": (0, 0.125, 0.25),
        "spec.head.channels": (None, "x0.5", 640),
        "spec.stem.pool": (True, False),
    }


def test_the_baselines_value_is_the_baselines_row_and_it_comes_first() -> None:
    rows = swept(open_baseline("efficientnet_b0"), {"spec.stages.se": (0, 0.125, 0.25, 0.5)})
    assert [line.label for line in rows.lines] == ["se 0.25 (baseline)", "se 0", "se 0.125", "se 0.5"]
    assert [line.grows for line in rows.lines] == [False, True, True, True]
    assert rows.remarks == ()


def test_a_sweep_without_the_baselines_value_has_the_baseline_too() -> None:
    """B0's kernels are 3 and 5: no one kernel is the baseline (Tan & Le 2019, Table 1)."""
    rows = swept(open_baseline("efficientnet_b0"), {"spec.stages.kernel": (3, 5)})
    assert [line.label for line in rows.lines] == ["baseline", "kernel 3", "kernel 5"]


def test_several_fields_make_every_combination_and_their_number_is_said() -> None:
    sweep: dict[str, tuple[Value, ...]] = {"spec.stages.se": (0, 0.25), "spec.stages.3.kernel": (3, 5, 7)}
    rows = swept(open_baseline("efficientnet_b0"), sweep)
    assert [line.label for line in rows.lines] == [
        "se 0.25 · stage 3 kernel 5 (baseline)",
        "se 0 · stage 3 kernel 3", "se 0 · stage 3 kernel 5", "se 0 · stage 3 kernel 7",
        "se 0.25 · stage 3 kernel 3", "se 0.25 · stage 3 kernel 7",
    ]  # fmt: skip
    assert rows.remarks == (
        "2 values of spec.stages.se × 3 of spec.stages.3.kernel, 6 combinations: 6 networks with the baseline",
    )


def test_values_that_make_one_network_are_one_row_that_says_so() -> None:
    rows = swept(open_baseline("efficientnet_b0"), {"spec.stages.se": (0.5, 0.5001, 0.2501, 0.25)})
    assert [(line.label, line.note) for line in rows.lines] == [
        ("se 0.2501 (baseline)", "the same network as se 0.25"),
        ("se 0.5", "the same network as se 0.5001"),
    ]


def test_stages_that_a_field_does_not_reach_are_said_once() -> None:
    rows = swept(open_baseline("efficientnet_v2_s"), {"spec.stages.se": (0.125, 0.5)})
    assert rows.remarks == ("spec.stages.se does not reach stages 1, 2, 3: fused_mbconv has no se",)


def test_what_changes_nothing_is_no_comparison() -> None:
    for name, sweep in (("mobilenet_v2", {"spec.stages.se": (0,)}), ("resnet18", {"spec.stages.kernel": (3,)})):
        with pytest.raises(ScaleSearchError, match=f"changes {name}: nothing to compare"):
            swept(open_baseline(name), sweep)


def test_a_network_of_which_nothing_would_be_left_is_refused_by_its_row() -> None:
    with pytest.raises(ScalingError, match=r"--sweep: stride 2: resolution: .* leaves 32 of 32 px"):
        swept(open_baseline("efficientnet_b0").at(resolution=32), {"spec.stages.stride": (2,)})


def test_a_module_has_no_table_to_sweep() -> None:
    with pytest.raises(BaselineError) as refused:
        swept(open_baseline("torchvision:resnet18"), {"spec.stages.channels": ("x2",)})
    assert str(refused.value).startswith(
        "torchvision:resnet18 is a module: only a table of stages has a field spec.sta"
    )


@pytest.mark.parametrize(
    ("assignments", "words"),
    [
        (["spec.stages.se"], "--sweep: expected FIELD=V1,V2"),
        (["spec.stages.se="], "--sweep: expected FIELD=V1,V2"),
        (["spec.stages.se=0,,1"], "--sweep: expected FIELD=V1,V2"),
        (["=1"], ": no field of a table of stages"),
        (["spec.stages.se=0,0.0"], "spec.stages.se: the value 0.0 stands twice"),
        (["spec.stages.se=0", "spec.stages.se=0.5"], "it stands twice; put its values into one list"),
        (["se=0"], "did you mean spec.stages.se?"),
        (["train.learning_rate=0.1,0.2"], "all rows are trained by one recipe"),
        (["spec.head.dropout=0,0.2"], "the recipe's key train.dropout decides it"),
    ],
)
def test_a_mistaken_sweep_is_refused_in_one_line(assignments: list[str], words: str) -> None:
    with pytest.raises(ScaleSearchError) as refused:
        read_sweep(assignments)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_more_combinations_than_a_night_has_room_for_are_a_slip() -> None:
    many = tuple(range(1, 33))
    with pytest.raises(ScaleSearchError, match=r"32 values of .* × 32 of .*, 1,024 combinations, more than 1,000"):
        check_sweep({"spec.stages.repeats": many, "spec.stages.channels": many})


@pytest.mark.parametrize(
    ("name", "sweep"),
    [("efficientnet_b0", {"spec.stages.kernel": (3, 5, 7)}), ("resnet18", {"spec.stages.repeats": (1, 3)})],
)
def test_at_equal_cost_every_row_costs_the_same(name: str, sweep: dict[str, tuple[Value, ...]]) -> None:
    baseline = open_baseline(name)
    lines = at_equal_cost(baseline, swept(baseline, sweep).lines, 1, 1000, 0.03)
    search = with_rows(load_recipe("paper", {}), name, lines).search
    made = plan(baseline, 1, search, num_classes=1000)
    group = group_of(name, lines, made, baseline, 1000)
    assert len({c.model.fingerprint for c in made.candidates}) == len(lines)
    assert [c.ratio for c in group.candidates.values()] == pytest.approx([1] * len(lines), abs=0.03)
    assert lines[0].width == 1
    assert all(line.width != 1 for line in lines[1:])


def test_rows_of_different_strides_are_no_step_between_sizes_of_images() -> None:
    baseline = open_baseline("resnet18")
    lines = swept(baseline, {"spec.stages.4.stride": (1, 2)}).lines
    made = plan(baseline, 1, with_rows(load_recipe("paper", {}), "resnet18", lines).search, num_classes=10)
    assert {c.model.last_side for c in made.candidates} == {7, 14}
    assert step_in_last_maps(made.candidates, 224) is None


def test_a_file_holds_rows_or_a_sweep(tmp_path: Path) -> None:
    shipped = load_comparison("se-ratio")
    assert shipped.sweep == {"spec.stages.se": (0, 0.125, 0.25, 0.5)}
    path = tmp_path / "both.yaml"
    path.write_text(yaml.safe_dump({"title": "Both", "any": [{"label": "a"}], "sweep": {"spec.stages.se": [0]}}))
    with pytest.raises(RecipeError, match="either rows or a sweep"):
        load_comparison(str(path))
