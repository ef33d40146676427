"""The page's files: complete, from here alone, and free of what the content security policy forbids."""

from __future__ import annotations

import re

import pytest

from tickloom.actors.http.assets import TYPES, load_assets

ASSETS = load_assets()
PAGES = [name for name in ASSETS if name.endswith(".html")]
OWN_SCRIPTS = [name for name in ASSETS if name.startswith("js/")]


@pytest.mark.parametrize("name", PAGES)
def test_pages_have_no_inline_script_style_or_handler_and_refer_to_files_that_are_there(name: str) -> None:
    text = ASSETS[name].body.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", text)
    references = re.findall(r"\b(?:src|href)=\"([^\"#]+)\"", text)
    local = [each for each in references if not each.startswith("https://www.tradingview.com/")]
    assert local
    for reference in local:
        assert reference == "/" or reference.removeprefix("/static/") in ASSETS, reference


@pytest.mark.parametrize("name", OWN_SCRIPTS)
def test_scripts_never_make_html_or_code_of_text_and_import_files_that_are_there(name: str) -> None:
    text = ASSETS[name].body.decode()
    makers = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment"
    assert not re.search(rf"{makers}|\beval\(|new Function", text)
    assert not re.search(r"https?://", text)
    for reference in re.findall(r"from \"(\.[^\"]+)\"", text):
        parts = [*name.split("/")[:-1], *reference.split("/")]
        path: list[str] = []
        for part in parts:
            if part == "..":
                path.pop()
            elif part != ".":
                path.append(part)
        assert "/".join(path) in ASSETS, reference


def test_the_chart_library_is_a_copy_with_its_licence_beside_it() -> None:
    folder = "vendor/lightweight-charts/"
    library = ASSETS[f"{folder}lightweight-charts.js"].body
    version = re.search(rb"Lightweight Charts\S* v(\S+)", library)
    assert version
    assert version[1] in ASSETS[f"{folder}NOTICE.txt"].body
    assert b"Apache License" in ASSETS[f"{folder}LICENSE.txt"].body
    assert b"TradingView" in ASSETS["index.html"].body, "the licence asks for the attribution on the page"


def test_tags_change_with_the_content() -> None:
    assert len({asset.etag for asset in ASSETS.values()}) == len(ASSETS)
    assert {asset.content_type for asset in ASSETS.values()} <= set(TYPES.values())


def test_every_element_a_script_looks_up_is_on_the_page() -> None:
    page = ASSETS["index.html"].body.decode()
    ids = set(re.findall(r"\bid=\"([^\"]+)\"", page))
    for name in OWN_SCRIPTS:
        for wanted in re.findall(r"byId\(\"([^\"]+)\"\)|figure\(\"([^\"]+)\"", ASSETS[name].body.decode()):
            assert (wanted[0] or wanted[1]) in ids, (name, wanted)
