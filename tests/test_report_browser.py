"""The page of a report, in a real browser."""

import json
import shutil

import pytest
import soundfile
from recipe_commands import run_verify
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from voxceleb1_layout import find_utterances

PROGRAMS = ("chromium", "chromedriver")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
)
PHONE, DESK = (360, 800), (1280, 900)
DURATION_TOLERANCE = 0.01  # s

LOAD_EVERY_PLAYER = """
const done = arguments[0];
(async () => {
  const found = [];
  for (const player of document.querySelectorAll("audio")) {
    const loaded = new Promise((resolve, reject) => {
      player.onloadeddata = resolve;
      player.onerror = () => reject(player.error.message);
    });
    player.preload = "auto";
    player.load();
    await loaded;
    found.push([player.getAttribute("aria-label"), player.readyState,
                player.duration]);
  }
  return found;
})().then(done, (error) => done(String(error)));
"""
PLAY_TWO = """
const done = arguments[0];
const [first, second] = document.querySelectorAll("audio");
(async () => {
  for (const player of [first, second]) {
    const moved = new Promise((resolve) => {
      player.ontimeupdate = () => player.currentTime > 0.05 && resolve();
    });
    await player.play();
    await moved;
  }
  return [first.paused, second.currentTime];
})().then(done, (error) => done(String(error)));
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(
            f"{' and '.join(missing)} must be installed (Debian's packages "
            "chromium and chromium-driver)"
        )
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in FLAGS:
        options.add_argument(flag)
    options.add_argument(
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}"
    )
    options.set_capability(
        "goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
    )
    service = Service(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(corpus, trained, tmp_path_factory):
    """Written by verify.py."""
    output = tmp_path_factory.mktemp("page")
    folder = trained / "model"
    run_verify(corpus, folder, output, "--page=True", "--block_rates=True")
    return output / "report.html"


@pytest.fixture
def opened(browser, page):
    """The page anew, light and of a desk's width; what it logged so far is
    read."""
    show(browser, page, DESK, "light")
    return browser


def show(browser, page, size, scheme):
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {
            "width": size[0],
            "height": size[1],
            "deviceScaleFactor": 1,
            "mobile": size == PHONE,
        },
    )
    # Reduced motion: a click need not wait for smooth scrolling.
    media = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
    features = [{"name": name, "value": media[name]} for name in media]
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": features}
    )
    browser.get(page.as_uri())


def rows_of(table, column):
    return [
        row.find_elements(By.CSS_SELECTOR, "th, td")[column].text
        for row in table.find_elements(By.CSS_SELECTOR, "tbody tr")
    ]


def sorts_of(table):
    headers = table.find_elements(By.CSS_SELECTOR, "thead th")
    return [header.get_attribute("aria-sort") for header in headers]


def test_it_loads_without_an_error_or_a_request(opened, page):
    opened.execute_async_script(LOAD_EVERY_PLAYER)
    assert opened.title.startswith("Verification on veri_test2.txt")
    assert opened.get_log("browser") == []
    events = [
        json.loads(entry["message"])["message"]
        for entry in opened.get_log("performance")
    ]
    addresses = [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]
    assert page.as_uri() in addresses
    others = {url for url in addresses if not url.startswith("data:")}
    assert others == {page.as_uri()}


def test_a_script_that_got_in_would_not_run(opened):
    """The policy is in force."""
    opened.execute_script(
        "const other = document.createElement('script');"
        "other.textContent = 'window.ran = true';"
        "document.body.append(other);"
    )
    assert opened.execute_script("return window.ran") is None
    (entry,) = opened.get_log("browser")
    assert "Content Security Policy" in entry["message"]


def test_every_player_has_its_recording(opened, corpus):
    found = opened.execute_async_script(LOAD_EVERY_PLAYER)
    assert isinstance(found, list), found
    files = find_utterances(corpus)
    trials = opened.find_elements(By.CSS_SELECTOR, "#examples tbody tr")
    assert len(found) == 2 * len(trials) > 8
    for label, ready, duration in found:
        path = files[label.removeprefix("Recording ")]
        expected = soundfile.info(path).duration
        assert ready >= 2  # HAVE_CURRENT_DATA
        assert duration == pytest.approx(expected, abs=DURATION_TOLERANCE)


def test_players_play_one_at_a_time(opened):
    is_first_paused, seconds = opened.execute_async_script(PLAY_TWO)
    assert is_first_paused
    assert seconds > 0.05


def test_a_click_sorts_and_another_one_turns_it_round(opened):
    table = opened.find_element(By.CSS_SELECTOR, "#examples table")
    score = table.find_elements(By.CSS_SELECTOR, "th button")[1]
    before = [float(text) for text in rows_of(table, 1)]
    assert before == sorted(before, reverse=True)
    assert len(set(before)) > 2
    assert sorts_of(table) == [None] * 4
    score.click()
    assert [float(text) for text in rows_of(table, 1)] == sorted(before)
    assert sorts_of(table) == [None, "ascending", None, None]
    score.click()
    assert [float(text) for text in rows_of(table, 1)] == before
    assert sorts_of(table) == [None, "descending", None, None]


def test_the_keyboard_sorts_and_shows_where_it_is(opened):
    table = opened.find_elements(By.CSS_SELECTOR, "#examples table")[1]
    buttons = table.find_elements(By.CSS_SELECTOR, "th button")
    opened.execute_script("arguments[0].focus()", buttons[1])
    opened.switch_to.active_element.send_keys(Keys.TAB)
    focused = opened.switch_to.active_element
    assert focused == buttons[2]
    assert focused.value_of_css_property("outline-style") == "solid"
    focused.send_keys(Keys.ENTER)
    names = rows_of(table, 2)
    speakers = [name.split()[0] for name in names]
    assert speakers == sorted(speakers)
    assert sorts_of(table)[2] == "ascending"
    focused.send_keys(Keys.SPACE)
    assert [name.split()[0] for name in rows_of(table, 2)] == sorted(
        speakers, reverse=True
    )
    assert sorts_of(table)[2] == "descending"


def test_the_first_tab_leads_to_the_report(opened):
    opened.find_element(By.TAG_NAME, "body").send_keys(Keys.TAB)
    link = opened.switch_to.active_element
    assert link.text == "Skip to the report"
    assert link.rect["y"] >= 0
    link.send_keys(Keys.ENTER)
    assert opened.switch_to.active_element.tag_name == "main"


@pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
def test_nothing_is_wider_than_the_window(browser, page, size):
    """But the tables, which scroll within themselves, by keyboard too."""
    show(browser, page, size, "light")
    browser.execute_script(
        "document.querySelectorAll('details').forEach((x) => (x.open = true))"
    )
    widths = "document.documentElement.scrollWidth, document.body.scrollWidth"
    found = browser.execute_script(f"return [innerWidth, {widths}]")
    assert found[0] == size[0]
    assert max(found[1:]) <= size[0]
    wide = browser.execute_script(
        "return [...document.querySelectorAll('main *')].filter((x) =>"
        " !x.closest('.scroll, svg')"
        " && x.getBoundingClientRect().right > innerWidth"
        ").map((x) => x.outerHTML.slice(0, 80))"
    )
    assert wide == []
    for region in browser.find_elements(By.CLASS_NAME, "scroll"):
        assert region.get_attribute("tabindex") == "0"
        assert region.accessible_name.startswith("Table: ")


def test_dark_and_light_differ(browser, page):
    colours = {}
    for scheme in ("light", "dark"):
        show(browser, page, DESK, scheme)
        colours[scheme] = browser.execute_script(
            "const style = getComputedStyle(document.body);"
            "return [style.backgroundColor, style.color].map("
            "(x) => x.match(/\\d+/g).reduce((a, b) => a + Number(b), 0))"
        )
    assert colours["light"][0] > 600 > 200 > colours["light"][1]
    assert colours["dark"][1] > 600 > 200 > colours["dark"][0]


def test_pictures_players_and_parts_have_names(opened):
    """As assistive technology sees them."""
    opened.execute_script(
        "document.querySelectorAll('details').forEach((x) => (x.open = true))"
    )
    nodes = opened.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    names = {}
    for node in nodes:
        if not node["ignored"]:
            role = node["role"]["value"]
            name = node.get("name", {}).get("value", "")
            names.setdefault(role, []).append(name)
    for role, fewest in (
        ("image", 10),
        ("Audio", 10),
        ("region", 8),
        ("table", 6),
        ("navigation", 1),
    ):
        assert len(names[role]) >= fewest, role
        assert all(names[role]), role
    assert {"main", "banner", "contentinfo"} <= set(names)


def test_it_can_be_read_without_scripts(browser, page):
    browser.execute_cdp_cmd(
        "Emulation.setScriptExecutionDisabled", {"value": True}
    )
    try:
        show(browser, page, DESK, "light")
        text = browser.find_element(By.TAG_NAME, "body").text
        again = browser.find_elements(By.CLASS_NAME, "again")
        num_buttons = len(browser.find_elements(By.TAG_NAME, "button"))
    finally:
        browser.execute_cdp_cmd(
            "Emulation.setScriptExecutionDisabled", {"value": False}
        )
    for words in (
        "Equal error rate",
        "EER by gender",
        "False rejects",
        "Commit",
    ):
        assert words in text
    assert again
    assert num_buttons == 0
