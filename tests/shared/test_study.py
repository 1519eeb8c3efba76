"""study.toml: what is written is read back, and every mistake is one sentence with key, rule and value."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder.shared.errors import StudyError
from beholder.shared.stimuli.folder import bundled_folder
from beholder.shared.study import (
    NEW_PRIMARY,
    MapSettings,
    PictureSettings,
    Study,
    StudySettings,
    new_study,
    read_study,
    to_toml,
    write_study,
)


def test_the_commented_file_reads_back_as_the_same_settings(tmp_path: Path) -> None:
    study = Study()
    write_study(study, tmp_path)
    assert read_study(tmp_path) == study


@given(
    name=st.text(min_size=1),
    seed=st.integers(0, 2**32 - 1),
    size=st.one_of(st.none(), st.floats(0.1, 119)),
    with_screen=st.booleans(),
)
def test_any_settings_survive_the_way_through_toml(
    tmp_path_factory: pytest.TempPathFactory, name: str, seed: int, size: float | None, with_screen: bool
) -> None:
    study = Study(study=StudySettings(name=name, seed=seed), pictures=PictureSettings(size_deg=size))
    if not with_screen:
        study = study.model_copy(update={"screen": None})
    folder = tmp_path_factory.mktemp("study")
    try:
        write_study(study, folder)
    except UnicodeEncodeError:  # lone surrogates are not text
        return
    assert read_study(folder) == study


def test_a_new_study_is_about_its_own_measure_and_an_older_file_keeps_kl(tmp_path: Path) -> None:
    write_study(new_study("new", bundled_folder()), tmp_path)
    assert read_study(tmp_path).alignment.primary == NEW_PRIMARY != "kl"
    for older in ("", '[alignment]\nprimary = "kl"\n'):
        (tmp_path / "study.toml").write_text(older)
        assert read_study(tmp_path).alignment.primary == "kl"


def test_every_setting_is_explained() -> None:
    for name in Study.model_fields:
        section = getattr(Study(), name)
        for key, field in type(section).model_fields.items():
            assert field.description, f"{name}.{key} has no comment"
            assert field.description in to_toml(Study())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[maps]\nsigma = 0.15", ["maps", "0.15", "one of the sweep"]),
        ('[maps]\nsigma_unit = "inch"', ["maps.sigma_unit", "'deg'", "'inch'"]),
        ("[eyes]\na = 1", ["there is no setting", '"eyes"']),
        ('[study]\nnme = "a"', ["there is no setting", '"study.nme"']),
        ('[models]\nlayers = ["first"]', ["models.layers[1]", "'first'"]),
        ('[screen]\nwidth_cm = "5"', ["screen.width_cm", "number", "'5'"]),
        ("[screen]\nwidth_cm = 20.0", ["screen", "square", "measure"]),
        ("x =", ["not valid TOML", "mend"]),
        ("[tracker]\nrate_hz = nan", ["tracker.rate_hz", "finite"]),
        ("study = 3", ["study", "3"]),
        ('[checks]\nmeant = ["overlap"]', ["checks.meant[1]", "'overlapping events'", "'overlap'"]),
        ('[alignment]\nmeasures = ["kl", "kl"]', ["alignment.measures", "twice"]),
        ('[alignment]\nprimary = "cc"\nmeasures = ["kl"]', ["alignment", '"cc"', "measures"]),
    ],
)
def test_a_mistake_is_one_sentence_with_key_rule_and_value(tmp_path: Path, text: str, words: list[str]) -> None:
    (tmp_path / "study.toml").write_text(text)
    with pytest.raises(StudyError) as error:
        read_study(tmp_path)
    sentence = str(error.value)
    assert "study.toml" in sentence and "\n" not in sentence
    for word in words:
        assert word in sentence


def test_a_folder_without_study_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="beholder new"):
        read_study(tmp_path / "nowhere")


def test_a_geometry_that_is_not_given_is_unknown(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("")
    study = read_study(tmp_path)
    assert study.screen is not None or study.pictures.size_deg is None
    assert study.screen is None and study.pictures.size_deg is None


def test_the_sweep_has_the_papers_forty_values_without_rounding_errors() -> None:
    sigmas = MapSettings().sigmas()
    assert len(sigmas) == 40
    assert sigmas[2] == 0.3 and sigmas[-1] == 4.0


def test_study_toml_is_read_as_notepad_saves_it(tmp_path: Path) -> None:
    write_study(Study(), tmp_path)
    path = tmp_path / "study.toml"
    text = path.read_text(encoding="utf-8")
    path.write_text(text, encoding="utf-8-sig")
    assert read_study(tmp_path) == Study()
    for encoding in ("utf-16", "utf-16-le"):
        path.write_text(text, encoding=encoding)
        with pytest.raises(StudyError, match=r"study\.toml is in UTF-16.*save it again"):
            read_study(tmp_path)
    path.write_bytes(text.encode("utf-8").replace(b"[study]", b"# caf\xe9\n[study]", 1))
    with pytest.raises(StudyError, match=r"line \d+ holds a letter that is not UTF-8"):
        read_study(tmp_path)
    path.write_text("a = " + "[" * 100_000)
    with pytest.raises(StudyError, match="nested too deep"):
        read_study(tmp_path)


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [("alignment", "window_step_s", "1e-9"), ("maps", "sigma_step", "1e-9"), ("maps", "sigma_to", "1e300"),
     ("models", "input_px", "100000"), ("pictures", "size_deg", "1e-9"), ("alignment", "centre_share", "1e-9")],
)  # fmt: skip
def test_a_setting_that_asks_for_more_than_there_is_is_refused_by_name(
    tmp_path: Path, section: str, key: str, value: str
) -> None:
    (tmp_path / "study.toml").write_text(f"[{section}]\n{key} = {value}\n")
    with pytest.raises(StudyError, match=section):
        read_study(tmp_path)
