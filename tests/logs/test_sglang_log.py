"""What SGLang's start-up logs say."""

from __future__ import annotations

from sglang_start_ups import B200, COMPRESSED, HYBRID, LATENTS, OLDER, WINDOWS

from kvcalc.logs import ServerLog, read_log_text


def texts(log: ServerLog, figure: str) -> list[tuple[str, str]]:
    return [(each.text, each.process) for each in log.printed.get(figure, ())]


def test_figures_and_the_memory_of_a_pool() -> None:
    log = read_log_text(B200)
    assert (log.engine, log.model, log.settings) == ("sglang", "Qwen/Qwen3-8B", {})
    assert texts(log, "free memory before loading") == [("177.57 GiB", "")]
    assert texts(log, "weights") == [("15.28 GiB", "")]
    assert texts(log, "cache memory") == [("68.18 GiB + 68.18 GiB", "")]
    assert texts(log, "tokens") == [("992896", "")]
    assert log.between == ((0, 5, 10), (0, 5, 12))


def test_states_are_part_of_what_each_rank_keeps() -> None:
    log = read_log_text(HYBRID)
    assert log.model == "Qwen/Qwen3.5-9B"
    assert {"--tp": "2", "mem-fraction-static": "0.8", "--context": "262144"}.items() <= log.settings.items()
    assert texts(log, "cache memory") == [
        ("2.50 GiB + 2.50 GiB + 0.10 GiB + 4.38 GiB", "TP0"),
        ("2.50 GiB + 2.50 GiB + 0.10 GiB + 4.38 GiB", "TP1"),
    ]
    assert texts(log, "slots of states") == [("186", "TP0"), ("186", "TP1")]


def test_pools_of_windows_and_of_latents() -> None:
    windows = read_log_text(WINDOWS)
    assert texts(windows, "cache memory") == [("79.94 GiB", "")]
    assert (texts(windows, "tokens"), texts(windows, "tokens of windows")) == ([("997846", "")], [("798276", "")])
    compressed = read_log_text(COMPRESSED)
    assert (texts(compressed, "tokens"), texts(compressed, "tokens of windows")) == (
        [("23533824", "TP0")],
        [("164096", "TP0")],
    )
    latents = read_log_text(LATENTS)
    assert texts(latents, "cache memory")[0] == ("17.16 GiB", "DP0 TP0 EP0")
    assert latents.settings["--dp-attention"] == "True"


def test_versions_follow_from_wording_and_settings() -> None:
    assert read_log_text(OLDER).between == ((0, 4), (0, 5, 8))
    since = {option for option in read_log_text(LATENTS).settings if option.startswith("since ")}
    assert since == {"since 0.5.3", "since 0.5.4.post3"}


def test_memory_of_a_draft_is_not_added_up() -> None:
    pool = "KV Cache is allocated. dtype: torch.bfloat16, #tokens: 295950, K size: {0} GB, V size: {0} GB\n"
    log = read_log_text(B200.splitlines()[2] + "\n" + pool.format("4.52") + pool.format("3.39"))
    assert "cache memory" not in log.printed
