"""The page on `kvcalc web`, as somebody uses it who sees, types and clicks, or has a keyboard alone."""

from __future__ import annotations

import re
from typing import Any

CONFIG = '{"model_type":"llama","hidden_size":4096,"num_hidden_layers":32,"num_attention_heads":32}'


def headline(page: Any, has: str) -> str:
    page.wait_for_function("has => document.getElementById('headline').textContent.includes(has)", arg=has)
    return str(page.locator("#headline").inner_text())


def test_a_model_is_typed_and_its_number_read(visit: Any, served: str) -> None:
    page = visit(served).page
    headline(page, "KV cache 80.00 GiB for 32 sequences")
    page.get_by_role("combobox", name="Model").fill("llama 3 8b")
    page.get_by_role("option").first.click()
    page.get_by_label("Sequences").fill("4")
    assert "KV cache 4.00 GiB for 4 sequences x 8,192 tokens: 1.00 GiB each" in headline(page, "for 4 sequences")
    assert page.get_by_role("combobox", name="Model").input_value() == "llama-3-8b"


def test_a_value_is_read_off_the_curve(visit: Any, served: str) -> None:
    page = visit(served).page
    page.locator('path.point[data-series="cache"][data-x="4096"]').hover()
    told = page.locator("#value").inner_text()
    assert re.fullmatch(r"4,096 tokens: all of it \d+\.\d\d GiB, cache 10\.00 GiB", told)


def test_the_keyboard_reads_the_curve(visit: Any, served: str) -> None:
    page = visit(served).page
    slider = page.get_by_role("slider", name="Read the curve")
    slider.focus()
    assert page.locator("#value").inner_text().endswith("cache 20.00 GiB"), "it begins at the context that is asked for"
    page.keyboard.press("ArrowLeft")
    assert slider.get_attribute("aria-valuetext").startswith("4,096 tokens: all of it")
    page.keyboard.press("Home")
    assert slider.get_attribute("aria-valuetext") == page.locator("#value").inner_text()
    assert page.locator("path.point.near").count() == 2


def test_a_mistake_marks_its_field(visit: Any, served: str) -> None:
    page = visit(f"{served}#model=llama-3-8b&utilization=0.5&gpu=auto").page
    headline(page, "gpu: auto")
    wrong = page.locator("[aria-invalid]")
    assert [each.get_attribute("id") for each in wrong.all()] == ["gpu"]
    page.get_by_role("combobox", name="Accelerator").fill("h100-sxm")
    page.get_by_label("Utilization", exact=True).fill("2")
    headline(page, "--utilization")
    assert [each.get_attribute("id") for each in wrong.all()] == ["utilization"]


def test_a_link_shows_the_same(visit: Any, served: str) -> None:
    page = visit(served).page
    headline(page, "80.00 GiB")
    page.locator("summary", has_text="paste").click()
    page.get_by_label("Text of the file").fill(CONFIG)
    page.get_by_label("Context").fill("16Ki")
    told = headline(page, "16,384 tokens")
    page.wait_for_function("location.hash.includes('text=') && location.hash.includes('context=16Ki')")
    again = visit(page.url).page
    assert headline(again, "16,384 tokens") == told
    assert again.get_by_label("Text of the file").input_value() == CONFIG


def test_a_bad_file_is_refused_in_words(visit: Any, served: str) -> None:
    page = visit(served).page
    headline(page, "80.00 GiB")
    page.set_input_files("#file", {"name": "x.json", "mimeType": "application/json", "buffer": b'{"model_type": <b>"'})
    assert "pasted text" in headline(page, "pasted text")
    assert page.locator("#details").is_hidden()
    assert page.locator("#model_text").get_attribute("aria-invalid") == "true"
    page.set_input_files("#file", {"name": "x.json", "mimeType": "application/json", "buffer": b"x" * 20_000_000})
    headline(page, "more than 1,000,000 characters")


def test_what_others_wrote_is_text(visit: Any, served: str) -> None:
    page = visit(f"{served}#model=%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E").page
    assert "<img src=x onerror=alert(1)>" in headline(page, "no file, name")
    assert page.locator("img").count() == 0


def test_a_keyboard_is_enough(visit: Any, served: str) -> None:
    page = visit(served).page
    headline(page, "80.00 GiB")
    page.keyboard.press("Tab")
    page.keyboard.type("qwen3 8b")
    page.wait_for_selector('[role="option"]')
    page.keyboard.press("ArrowDown")
    assert re.match(r"model-list-\d+", page.locator("#model").get_attribute("aria-activedescendant") or "")
    page.keyboard.press("Enter")
    page.wait_for_function("location.hash.startsWith('#model=qwen3-8b')")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"


def test_a_small_screen_needs_no_scrolling_sideways(visit: Any, served: str) -> None:
    page = visit(served, viewport={"width": 360, "height": 800}).page
    page.wait_for_selector("#curve:not([hidden])")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
