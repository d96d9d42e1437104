"""From run folders to tables and report."""

import csv
import dataclasses
import re

import pytest
from study_parts import leave, planned, study

from aef_worldmodel.utils.config.schema import ConfigError
from aef_worldmodel.utils.errors import UserError
from agents.config import train as settings
from agents.study import __main__ as command
from agents.study import beside, gather, report
from agents.study.summary import sheets
from agents.training import published

RETURNS = {"aef": (90.0, 200.0), "rssm": (160.0, 260.0)}


@pytest.fixture(autouse=True)
def no_models(monkeypatch):
    """Checkpoints of these folders are empty: their models have a known size."""
    monkeypatch.setattr(gather, "parameters", lambda folder, config: 1_234)


def results(tmp_path, skip=()):
    """Return what eight runs measured, where `skip` names those that are not there."""
    runs = planned(tmp_path)
    for run in runs:
        if run.name not in skip:
            first, last = RETURNS[run.arm]
            leave(run, 10_000, (first + run.seed, last + 10 * run.seed))
    return gather.gather(study(), runs)


def sheet(found, title):
    return next(one for one in sheets(study(), found) if one.title == title)


def test_every_run_becomes_a_result(tmp_path):
    found, missing = results(tmp_path)
    assert len(found) == 8 and not missing
    first = found[0]
    assert (first.final, first.parameters, first.origin["commit"]) == (200.0, 1_234, "abc")
    assert first.update_ms == pytest.approx(60.0)  # a minute a thousand updates
    assert first.reached(150.0) == (10_000, 1.0) and first.reached(999.0)[0] != 999.0


def test_final_returns_are_by_arm_and_task(tmp_path):
    found, _ = results(tmp_path)
    rows = {(row[0], row[1]): row[2:] for row in sheet(found, "Final returns").rows}
    assert rows["cheetah-run", "aef"] == ["205 (200 to 210)", "205 (200 to 210)", "200, 210"]
    means = sheet(found, "Over tasks").rows
    assert [row[0] for row in means] == ["aef", "rssm"]
    assert means[1][2] == "0.265 (0.260 to 0.270)" and means[1][3] == "4"
    better = sheet(found, "Probability of improvement").rows
    assert better == [["aef", "rssm", "0.00 (0.00 to 0.00)"]]


def test_thresholds_costs_and_power(tmp_path):
    found, _ = results(tmp_path)
    rows = {row[2]: row[3:] for row in sheet(found, "Frames and minutes to a return").rows}
    assert rows == {"aef": ["10,000", "1.0", "2 of 2"], "rssm": ["5,000", "0.5", "2 of 2"]}
    assert sheet(found, "Costs").rows[0][2:] == ["1,234", "60", "1:00"]
    seen, least = sheet(found, "What so many runs can see").rows[0][2:]
    error = (4 * 50 / 2) ** 0.5 / 2 / 1_000  # variance 50 of two seeds, on two tasks, twice
    assert seen == "-0.060" and float(least) == pytest.approx(2.8 * error, abs=6e-4)


def test_an_unfinished_study_is_reported_with_what_is_missing(tmp_path):
    skip = {f"{arm} cheetah-run {seed}" for arm in RETURNS for seed in (0, 1)}
    runs = planned(tmp_path)
    results(tmp_path, skip)
    leave(runs[3], 4_000, (1.0,))  # rssm cheetah-run 0, unfinished
    found, missing = gather.gather(study(), runs)
    assert len(found) == 4
    assert "rssm-cheetah-run-0: 4,000 of 10,000 frames" in missing
    assert "aef-cheetah-run-0: it has not begun" in missing
    written, _ = report.write_report(study(), found, missing, tmp_path)
    text = (tmp_path / "report.md").read_text()
    assert "UNFINISHED: 4 runs are missing" in text and "rssm-cheetah-run-0: 4,000" in text
    assert {path.name for path in written} == {
        "report.md",
        "report.html",
        "curves.png",
        "means.png",
    }


def test_nothing_at_all_is_reported_too(tmp_path):
    report.write_report(study(), [], ["a: it has not begun"], tmp_path)
    assert "No run is complete yet." in (tmp_path / "report.md").read_text()


def test_the_page_needs_nothing_else(tmp_path):
    found, missing = results(tmp_path)
    report.write_report(study(), found, missing, tmp_path)
    text = (tmp_path / "report.html").read_text()
    assert text.count("data:image/png;base64,") == 2
    assert not re.search(r"(src|href)=.(?!data:)", text)
    assert text.count("<table>") == 7 and "0.265 (0.260 to 0.270)" in text
    assert "<b>" not in report.page(study(), ["<b>"], ["<b>"], [], [])


def test_without_matplotlib_there_are_no_pictures(tmp_path, monkeypatch):
    def refuse(*_):
        raise UserError("plots need Matplotlib (none): pip install matplotlib")

    monkeypatch.setattr("aef_worldmodel.viz.curves.subplots", refuse)
    found, missing = results(tmp_path)
    written, notes = report.write_report(study(), found, missing, tmp_path)
    assert len(written) == 2 and notes == [
        "the report has no pictures: plots need Matplotlib (none): pip install matplotlib"
    ]


def test_tables_have_every_run_and_every_evaluation(tmp_path):
    found, _ = results(tmp_path / "runs")
    for _ in range(2):  # the second time replaces them
        gather.write_tables(study(), found, tmp_path)
    with (
        open(tmp_path / "runs.csv", encoding="utf-8") as runs,
        open(tmp_path / "evaluations.csv", encoding="utf-8") as evaluations,
    ):
        runs, evaluations = list(csv.DictReader(runs)), list(csv.DictReader(evaluations))
    assert len(runs) == 8 and len(evaluations) == 16
    assert runs[0]["commit"] == "abc" and runs[0]["return"] == "200"
    assert evaluations[1]["return"] == "200" and evaluations[1]["frames"] == "10000"


def test_own_runs_are_gathered_beside_the_grid(tmp_path):
    results(tmp_path)
    own = planned(tmp_path / "mine")[0]
    leave(own, 12_000, (1.0, 400.0))
    both = study(runs={"mine": [str(own.folder), str(tmp_path / "nowhere")]})
    found, missing = gather.gather(both, planned(tmp_path))
    assert found[-1].arm == "mine" and found[-1].final == 400.0 and len(found) == 9
    assert missing == ["nowhere: it has not begun"]


# -- the command -------------------------------------------------------------------------


def write_study(path, runs=()):
    path.write_text(
        "tasks: [cartpole-swingup, cheetah-run]\narms: [aef, rssm]\nseeds: 2\nframes: 10000\n"
        "words: [hardware=cpu, eval.every=5000]\n"
    )
    return str(path)


def test_the_command_reports_and_says_what_is_missing(tmp_path, capsys):
    name, out = write_study(tmp_path / "tiny.yaml"), tmp_path / "out"
    for run in planned(out)[:2]:
        leave(run, 10_000, (1.0, 2.0))
    assert command.main([name, f"out={out}", "report_only=true"]) == 0
    said = capsys.readouterr().out
    assert said.count("missing: ") == 6 and "report.html" in said
    assert (out / "runs.csv").read_text().count("\n") == 3


def test_the_command_refuses_what_makes_no_sense(tmp_path):
    name, out = write_study(tmp_path / "tiny.yaml"), tmp_path / "out"
    for words, sentence in (
        ([], "no study is named: python -m agents.study NAME, of autoencoders, development"),
        (["report_only=true"], "no study is named"),
        ([name, "jobs=0"], "jobs=0 must be at least 1"),
        ([name, f"out={out}", "cluster_options=[a=1]"], "cluster_options are of a cluster"),
    ):
        with pytest.raises((ConfigError, ValueError), match=re.escape(sentence)):
            command.main(words)
    leave(planned(out)[0], 0)
    config = planned(out)[0].folder / "config.yaml"
    changed = settings.read(config)
    changed = dataclasses.replace(
        changed, world_model=dataclasses.replace(changed.world_model, pixel_weight=0.2)
    )
    settings.save(config, changed)
    with pytest.raises(UserError, match="holds a run of another study"):
        command.main([name, f"out={out}"])
    with command.hold(out), pytest.raises(UserError, match="another process runs this study"):
        command.main([name, f"out={out}"])


@pytest.mark.slow
def test_a_study_of_seconds_from_its_file_to_its_report(tmp_path, monkeypatch):
    monkeypatch.undo()  # real models
    from small_run import SMALL

    lacking = ("env=", "frames=", "eval.every")
    words = [word for word in SMALL if not word.startswith(lacking)] + ["eval.every=200"]
    text = "\n".join(f"  - {word}" for word in words)
    path, out = tmp_path / "tiny.yaml", tmp_path / "out"
    path.write_text(
        f"tasks: [cartpole-swingup]\narms: [aef, rssm]\nseeds: [3]\nframes: 400\nwords:\n{text}\n"
    )
    assert command.main([str(path), f"out={out}", "jobs=2"]) == 0
    assert "UNFINISHED" not in (out / "report.md").read_text()
    assert (out / "runs.csv").read_text().count("\n") == 3


def test_published_returns_stand_beside_ours(tmp_path, monkeypatch):
    table = tmp_path / "published.csv"
    table.write_text(
        "task,method,frames,return_mean,return_std,seeds,hours\n"
        "cheetah-run,dreamerv3,5000,80,,,\n"
        "cartpole-swingup,dreamerv3,5000,40,,,\n"
        "cheetah-run,simoun-dmc100k,5000,95.4,,,\n"
        "cheetah-run,simoun-dmc100k,10000,999,,,\n"
    )
    monkeypatch.setattr(published, "PUBLISHED", table)
    published.table.cache_clear()
    wanted = study(at=[5_000], groups={"one": ["cheetah-run"]})
    wanted = dataclasses.replace(wanted, groups=wanted.groups | {"more": ("cheetah-run", "x")})
    found, _ = results(tmp_path)
    tasks, groups = beside.beside(wanted, found)
    published.table.cache_clear()
    rows = {(row[0], row[1]): row[2:] for row in tasks.rows}
    assert tasks.title == "At 5,000 frames, beside published returns"
    row = rows["cheetah-run", "aef"]  # first evaluations: 90 and 91
    assert row[:3] == ["90 (90 to 91)", "90, 91", "95 Simoun*"] and row[4:] == ["80", "-", "-"]
    means = {(row[0], row[1]): row[3:] for row in groups.rows}
    assert means["one", "aef"] == ["90 (90 to 91)", "-", "80", "-", "-"]
    assert means["all 2", "rssm"][2] == "60" and ("more", "aef") not in means


def test_a_return_between_evaluations_is_that_before(tmp_path):
    first = results(tmp_path)[0][0]  # 90 at 5,000 and 200 at 10,000 frames
    assert (first.at(5_000), first.at(5_500), first.at(9_999_999)) == pytest.approx(
        (90.0, 90.0, float("nan")), nan_ok=True
    )
    assert first.largest_drop == 0.0
    fallen = dataclasses.replace(first, evaluations=first.evaluations[::-1])
    assert fallen.largest_drop == 110.0
