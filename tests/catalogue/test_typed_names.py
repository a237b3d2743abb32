"""Models by the names that people type and paste: the table in typed_names.csv, and names that are not answered."""

from __future__ import annotations

import csv
import json
import re
import shlex
from functools import cache

import pytest
from conftest import DATA, Kvcalc
from each import for_each

import kvcalc as package
from kvcalc import KvcalcError
from kvcalc.catalogue import find_model
from kvcalc.catalogue.name_index import known_names
from kvcalc.catalogue.name_words import spelled
from kvcalc.catalogue.shipped import MODELS, read_model
from kvcalc.formats.told import told_format

read = cache(read_model)

with (DATA / "typed_names.csv").open(encoding="utf-8", newline="") as file:
    TYPED = [(row["typed"], row["model"], row["weights"]) for row in csv.DictReader(file)]


@for_each(("typed", "model", "weights"), TYPED)
def test_a_name_as_people_type_it(typed: str, model: str, weights: str) -> None:
    found = find_model(typed)
    assert found.path is not None
    assert found.path.stem == model
    said = [each.data["format"] for each in found.notes if each.code == "weights-by-name"]
    assert said == ([None if weights == "unknown" else weights] if weights else [])
    assert found.model.layers == read(found.path).layers


@pytest.mark.parametrize(
    ("typed", "listed"),
    [
        ("mistral-7b", ("mistral-7b-v0.1  32 x gqa 32/8 x 128, window 4,096", "mistral-7b-v0.3  32 x gqa 32/8 x 128")),
        ("mistral:7b", ("mistral-7b-v0.1  32 x gqa 32/8 x 128, window 4,096",)),
        ("TheBloke/Mistral-7B-Instruct-GPTQ", ("mistral-7b-v0.1",)),
        ("phi-3-mini", ("phi-3-mini-4k  32 x mha 32 x 96, window 2,047", "phi-3.5-mini   32 x mha 32 x 96")),
        ("phi3:14b", ("phi-3-medium-128k", "phi-3-medium-4k    40 x gqa 40/10 x 128, window 2,047")),
        ("qwen3", ("models that keep different caches",)),
        ("gemma-27b", ("gemma-2-27b", "gemma-3-27b")),
        ("llama4", ("keep the same cache and differ in size", "llama-4-scout-17b-16e      108,641,793,536 parameters")),
        ("jamba", ("ai21-jamba-mini-1.5   28 x mamba1", "ai21-jamba-large-1.5")),
        ("mistral-small", ("mistral-small-4-119b-2603   36 x mla", "codestral-22b-v0.1", "mistral-small-24b-2501")),
    ],
)
def test_where_caches_differ_the_models_are_listed(kvcalc: Kvcalc, typed: str, listed: tuple[str, ...]) -> None:
    told = kvcalc("estimate", typed)
    assert (told.code, told.stdout) == (2, "")
    for each in listed:
        assert each in told.stderr


@for_each("typed", ["llama4", "gtp-oss-20b", "mistral-7b-v0.4", "nobody/knows-it", "phi3:3.8b"])
def test_a_refusal_ends_with_a_command_that_works(kvcalc: Kvcalc, typed: str) -> None:
    last = kvcalc("estimate", typed).stderr.splitlines()[-1]
    assert last.startswith("next: kvcalc ")
    assert kvcalc(*shlex.split(last.removeprefix("next: kvcalc "))).code == 0


def test_where_they_do_not_the_newest_is_taken() -> None:
    by_name = {name: find_model(name) for name in ("llama-70b", "qwen3:30b", "mixtral-8x22b")}
    assert by_name["llama-70b"].model.name == "llama-3.3-70b"
    assert by_name["qwen3:30b"].model.name == "qwen3-30b-a3b-2507"
    for found in by_name.values():
        (told,) = found.notes
        assert told.code == "model-by-name"
        assert told.data["others"]


def test_a_name_without_a_size_is_told_that_one_is_known() -> None:
    (told,) = find_model("qwq").notes
    assert told.text == "'qwq' is assumed to be qwq-32b, the only size of it here"


@for_each("typed", ["bamba-9b", "t5-large", "molmo2-8b"])
def test_no_other_family_is_offered_because_it_looks_alike(kvcalc: Kvcalc, typed: str) -> None:
    assert kvcalc("estimate", typed).stderr.endswith("\nnext: kvcalc models list\n")


def test_a_gguf_file_that_is_not_there_is_offered_by_its_name(kvcalc: Kvcalc) -> None:
    told = kvcalc("estimate", "models/Qwen3-8B-Q8_0.gguf").stderr
    assert told.endswith("\nnext: kvcalc estimate Qwen3-8B-Q8_0\n")
    assert find_model("Qwen3-8B-Q8_0").model.weight_dtype == "q8_0"


@for_each(
    "path", ["/srv/Qwen3-8B", "/hub/models--Qwen--Qwen3-8B/snapshots/abc", r"D:\models\Qwen3-8B", "~/none/Qwen3-8B/"]
)
def test_a_folder_that_is_not_there_is_offered_by_its_name(kvcalc: Kvcalc, path: str) -> None:
    told = kvcalc("estimate", path)
    assert (told.code, told.stderr.rpartition("/")[2].rpartition(" ")[2]) == (2, "Qwen3-8B\n")


def test_gpt4all_is_published(kvcalc: Kvcalc) -> None:
    assert "no file, name or hub id" in kvcalc("estimate", "gpt4all-13b-snoozy").stderr


def test_a_folder_of_no_known_model_leads_to_the_list(kvcalc: Kvcalc) -> None:
    assert kvcalc("estimate", "/data/models").stderr.endswith("\nnext: kvcalc models list\n")


def test_the_copy_of_another_organisation_may_be_another_file() -> None:
    (told,) = find_model("someone/Qwen3-8B").notes
    assert told.text.endswith("and its own file may say otherwise (hf:someone/Qwen3-8B reads it)")
    for own in ("Qwen/Qwen3-8B", "qwen3-8b"):
        assert not find_model(own).notes
    for elsewhere in ("someone/qwen3:8b", "someone/Qwen3-8B-GGUF"):
        assert "hf:" not in find_model(elsewhere).notes[0].text


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("mistral-7b-v0.4", "mistral-7b-v0.3"),
        ("ministral-9b", "ministral-3-8b-2512"),
        ("llama-3-80b", "llama-3-70b"),
        ("qwen3-9b", "qwen3.5-9b"),
        ("lama-3-8b", "llama-3-8b"),
        ("qwen3-8", "qwen3-8b"),
        ("gptoss", "gpt-oss-20b"),
        ("dolphin-2.9.1-yi-1.5-34b", "yi-1.5-34b"),
    ],
)
def test_what_is_not_known_is_offered_its_family(kvcalc: Kvcalc, typed: str, first: str) -> None:
    told = kvcalc("estimate", typed)
    assert told.code == 2
    assert f"did you mean '{first}'" in told.stderr


def test_the_difference_between_names_that_are_offered_is_told(kvcalc: Kvcalc) -> None:
    told = kvcalc("estimate", "mistral-7b-v0.4").stderr
    assert "mistral-7b-v0.1  32 x gqa 32/8 x 128, window 4,096" in told


@pytest.mark.parametrize(
    "typed",
    ["Qwen3-8B-Mamba", "qwen3-8b-2412", "deepseek-coder", "https://huggingface.co/datasets/squad", "8b", "-", "🙂"],
)
def test_no_architecture_is_guessed(kvcalc: Kvcalc, typed: str) -> None:
    told = kvcalc("estimate", "--", typed)
    assert (told.code, told.stdout) == (2, "")


@for_each(
    ("typed", "said"),
    [
        ("nomic-embed-text", "is an encoder by its name, which keeps no cache"),
        ("sentence-transformers/all-MiniLM-L6-v2", "keeps no cache"),
        ("BAAI/bge-m3", "keeps no cache"),
        ("embeddinggemma:300m", "keeps no cache"),
        ("FacebookAI/xlm-roberta-base", "keeps no cache"),
        ("snowflake-arctic-embed:335m", "keeps no cache"),
        ("BAAI/bge-multilingual-gemma2", "no file, name or hub id"),
        ("Snowflake/Arctic-Text2SQL-R1-7B", "no file, name or hub id"),
        ("gpt-4o", "is served by its maker alone"),
        ("claude-3.5-sonnet", "is served by its maker alone"),
        ("someone/claude-distill-qwen", "no file, name or hub id"),
    ],
)
def test_why_a_model_is_not_there(typed: str, said: str) -> None:
    with pytest.raises(KvcalcError, match=re.escape(said)):
        find_model(typed)


def test_every_command_understands_a_name_alike(kvcalc: Kvcalc) -> None:
    typed = "RedHatAI/Llama-3.2-1B-Instruct-quantized.w4a16"
    weights = package.estimate(typed, context=1).memory.weights_bytes
    assert weights == package.estimate("llama-3.2-1b", context=1, weight_dtype="w4a16").memory.weights_bytes
    assert package.estimate(package.load_model(typed), context=1).memory.weights_bytes == weights
    for words in (("estimate", typed), ("capacity", typed), ("compare", typed), ("plan", typed)):
        told = json.loads(kvcalc(*words, "-c", "1", "--json").stdout)
        assert told["model"]["name"] == "llama-3.2-1b"
        assert {"model-by-name", "weights-by-name"} <= {each["code"] for each in told["notes"]}
    shown = kvcalc("models", "show", typed).stdout
    assert 'format: "w4a16"' in shown
    assert "hub_ids" not in shown


def test_a_model_that_is_shown_can_be_read_again(kvcalc: Kvcalc, tmp_path_factory: pytest.TempPathFactory) -> None:
    for typed in ("nvidia/DeepSeek-R1-FP4", "Qwen3-30B-A3B-AWQ"):
        file = tmp_path_factory.mktemp("shown") / "mine.yaml"
        assert kvcalc("models", "show", typed, "-o", str(file)).code == 0
        again, found = package.estimate(str(file), tp=8), package.estimate(typed, tp=8)
        assert again.memory == found.memory


def test_a_gguf_repository_is_for_llama_cpp() -> None:
    found = package.estimate("unsloth/Qwen3-8B-GGUF:Q8_0")
    assert found.engine == "llama-cpp"
    assert {"engine-of-file", "weights-by-name"} <= {each.code for each in found.notes}
    assert package.estimate("unsloth/Qwen3-8B-GGUF:Q8_0", engine="exact").engine == "exact"


@pytest.mark.parametrize(
    ("name", "bare", "stored"),
    [
        ("x-FP8-dynamic", "x", "fp8"),
        ("x-FP8-KV", "x", "fp8"),
        ("x-FP8-block", "x", "fp8_block"),
        ("x-AWQ-INT4", "x", "int4"),
        ("x-GPTQ-Int8", "x", "int8_g128"),
        ("x-gptq-4bit-32g", "x", "int4_g32"),
        ("x-W4A16-G32", "x", "w4a16_g32"),
        ("x-it-qat-w4a16-ct", "x-it", "w4a16_g32"),
        ("x-quantized.w8a8", "x", "int8"),
        ("x-NVFP4A16", "x", "nvfp4"),
        ("x-MXFP4-Preview", "x", "mxfp4"),
        ("x-MXFP4-Q8", "x", "mxfp4_q8"),
        ("x-unsloth-bnb-4bit", "x", "unsloth_bnb_4bit"),
        ("x-bnb-4bit", "x", "nf4_double"),
        ("x-bnb-nf4", "x", "nf4"),
        ("x-MLX-4bit", "x", "mlx_4bit"),
        ("x-8bit-MLX", "x", "mlx_8bit"),
        ("MLX-x-4bit", "x", "mlx_4bit"),
        ("x-unsloth-dynamic-bnb-4bit", "x", "unsloth_bnb_4bit"),
        ("x-EXL3-3.50bpw", "x", "exl3"),
        ("x-4.0bpw-h6-exl2", "x", "exl2"),
        ("x-W4A8", "x", "w4a8"),
        ("x-NVFP4-FP8KV", "x", "nvfp4"),
        ("x-NVFP4-INT8", "x", "nvfp4_and_int8"),
        ("x-mxfp8-mlx-4bit", "x", "mxfp8_and_mlx_4bit"),
        ("x-AWQ-INT8", "x", "int8"),
        ("x-NVFP4-W4A4", "x", "nvfp4"),
        ("x-i1-GGUF", "x", None),
        ("x.Q4_K_M", "x", "q4_k_m"),
        ("x-UD-Q4_K_XL", "x", "q4_k_xl"),
        ("x-ud-q5km.gguf", "x", "q5_k_m"),
        ("x-instruct-q8.gguf", "x-instruct", "q8_0"),
        ("x-instruct.Q6.gguf", "x-instruct", "q6_k"),
        ("x-instruct-q4.gguf", "x-instruct", "q4"),
        ("x-int4-AutoRound", "x", "int4"),
        ("x-BF16", "x", "bf16"),
        ("x-8b", "x-8b", None),
    ],
)
def test_what_a_name_says_of_weights(name: str, bare: str, stored: str | None) -> None:
    told = told_format(name)
    assert (told.bare, told.stored) == (bare, stored)


def test_names_that_are_read_without_building_models_are_all_of_theirs() -> None:
    read: dict[str, set[str]] = {}
    for known in known_names():
        read.setdefault(known.path.stem, set()).add(known.spelled)
    for path in sorted(MODELS.glob("*.yaml"))[::10]:
        model = read_model(path)
        names = (model.name, *(each.rpartition("/")[2] for each in (*model.hub_ids, *model.aliases)))
        assert read[path.stem] == {spelled(name) for name in names}


def test_weights_by_name_tell_whose_checkpoint_they_are_as_in() -> None:
    """Who made a copy may have left more or less than NVIDIA, whose list of it is published."""
    found = find_model("someone/Qwen3.5-122B-A10B-NVFP4")
    (said,) = [each.text for each in found.notes if each.code == "weights-by-name"]
    assert "of those matrices that nvidia/Qwen3.5-122B-A10B-NVFP4 has in it (" in said
    assert {part.format for part in found.model.weights} == {"bf16", "nvfp4"}


def test_an_address_of_no_site_of_models_says_what_is_enough_of_it() -> None:
    with pytest.raises(KvcalcError, match=r"curl -L -r 0-33554431 -o part\.gguf https://example\.org/x-Q4_K_M\.gguf"):
        find_model("https://example.org/x-Q4_K_M.gguf")
    with pytest.raises(KvcalcError, match=r"curl -LO https://example\.org/config\.json"):
        find_model("https://example.org/config.json")
