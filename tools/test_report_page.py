#!/usr/bin/env python3
"""Opens report pages in a headless Chromium, from files and without a network, and checks them.

    .deps/peer/bin/python tools/test_report_page.py PAGE... [--charts N] [--pictures N]
                                                    [--screen laptop|phone] [--scheme light|dark]
                                                    [--screenshots FOLDER]

For each page, on a laptop and on a phone, light and dark (or on those named):
  - no error on the console, no exception, no request but for the page itself
  - every chart is drawn and shows points; at least --charts of them
  - every picture has pixels; at least --pictures of them
  - the page is not wider than the screen; nothing of it ran that is not ours (window.injected)
  - the buttons work: theme, axis, smoothing, log loss, enlarging a picture; printing gives a light page;
    a window of another size gets charts of that size
Prints one line for each finding and ends with 1 if there is one. Screenshots are for people.
"""
import argparse
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

SCREENS = {
    "laptop": {"viewport": {"width": 1366, "height": 820}},
    "phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True,
              "has_touch": True},
}

SCHEMES = ["light", "dark"]

# For each chart: its state, how many finite points its traces hold, whether marks are on the screen.
CHARTS = """() => [...document.querySelectorAll('.chart')].map((element) => {
  const finite = (values) => (values || []).flat().filter((v) => Number.isFinite(v)).length;
  const length = (array) => Array.isArray(array) || ArrayBuffer.isView(array) ? [...array] : [];
  const traces = (element.data || []).map((t) => t.type === 'heatmap'
    ? finite(t.z.map((row) => [...row])) : Math.min(finite(length(t.x)), finite(length(t.y))));
  const marks = [...element.querySelectorAll('.scatterlayer path.js-line, .scatterlayer path.point, .barlayer path, .heatmaplayer image')];
  const visible = marks.filter((mark) => {
    const box = mark.getBoundingClientRect();
    return box.width > 0 || box.height > 0;
  });
  const size = element.getBoundingClientRect();
  const drawing = element.querySelector('.main-svg');
  return {name: element.dataset.chart, drawn: drawing ? drawing.getBoundingClientRect().width : 0, state: element.dataset.state || 'not drawn', traces,
          marks: visible.length, width: size.width, height: size.height};
})"""

PICTURES = """() => [...document.querySelectorAll('.picture img')].map((image) =>
  ({complete: image.complete, width: image.naturalWidth, shown: image.getBoundingClientRect().width}))"""

# The elements that stick out, to name the culprit of a page that is too wide. What scrolls inside a
# box of its own does not count.
TOO_WIDE = """() => {
  const limit = document.documentElement.clientWidth;
  const scrolls = (element) => {
    for (let e = element; e && e !== document.body; e = e.parentElement) {
      if (['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(e).overflowX)) return true;
    }
    return false;
  };
  const culprits = [...document.body.querySelectorAll('*')]
    .filter((e) => e.getBoundingClientRect().right > limit + 1 && !scrolls(e))
    .map((e) => e.tagName.toLowerCase() + '.' + e.getAttribute('class'));
  return {limit, width: document.documentElement.scrollWidth, culprits: culprits.slice(0, 5)};
}"""


class PageCheck:
    """One page on one screen in one colour scheme."""

    def __init__(self, browser, path, screen, scheme, arguments):
        self.path, self.arguments = path, arguments
        self.where = f"{path.name} ({screen}, {scheme})"
        self.findings = []
        context = browser.new_context(color_scheme=scheme, offline=True, **SCREENS[screen])
        self.page = context.new_page()
        self.url = path.resolve().as_uri()
        self.page.on("console", self.on_console)
        self.page.on("pageerror", lambda error: self.find(f"exception: {error}"))
        self.page.on("request", self.on_request)
        self.page.on("dialog", lambda dialog: (self.find(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.screen, self.scheme = screen, scheme

    def find(self, what):
        self.findings.append(f"{self.where}: {what}")

    def on_console(self, message):
        if message.type in ("error", "warning"):
            self.find(f"console {message.type}: {message.text}")

    def on_request(self, request):
        if request.url.split("#")[0] != self.url and not request.url.startswith(("data:", "blob:")):
            self.find(f"asks for {request.url}")

    def run(self):
        self.page.goto(self.url, wait_until="load")
        self.check_charts("after loading", self.arguments.charts)
        self.check_pictures()
        self.check_width()
        if self.page.evaluate("() => window.injected !== undefined"):
            self.find("a program that came with the data ran")
        self.take_screenshot()
        if not self.findings:  # what follows needs a page whose charts are there
            self.check_controls()
            self.check_print()
            self.check_turning()
        self.page.context.close()
        return self.findings

    def check_charts(self, when, expected=0):
        charts = self.page.evaluate(CHARTS)
        if len(charts) < expected:
            self.find(f"{len(charts)} charts, expected {expected}")
        for chart in charts:
            name = f"chart {chart['name']} {when}"
            if chart["state"] != "drawn":
                self.find(f"{name}: {chart['state']}")
            elif not chart["traces"] or min(chart["traces"]) == 0:
                self.find(f"{name}: a trace without points: {chart['traces']}")
            elif chart["marks"] == 0:
                self.find(f"{name}: nothing on the screen")
            if abs(chart["drawn"] - chart["width"]) > 2:
                self.find(f"{name}: drawn {chart['drawn']:.0f} wide in a place of {chart['width']:.0f}")
            if chart["width"] < 200 or chart["height"] < 150:
                self.find(f"{name}: only {chart['width']:.0f} x {chart['height']:.0f} pixels")

    def check_pictures(self):
        pictures = self.page.evaluate(PICTURES)
        if len(pictures) < self.arguments.pictures:
            self.find(f"{len(pictures)} pictures, expected {self.arguments.pictures}")
        for number, picture in enumerate(pictures, start=1):
            if not picture["complete"] or picture["width"] == 0 or picture["shown"] < 50:
                self.find(f"picture {number} is not shown: {picture}")

    def check_width(self):
        result = self.page.evaluate(TOO_WIDE)
        if result["width"] > result["limit"]:
            self.find(f"{result['width']} pixels wide on {result['limit']}: {result['culprits']}")

    def background(self):
        return self.page.evaluate("() => getComputedStyle(document.body).backgroundColor")

    def check_controls(self):
        before = self.background()
        self.page.locator("#theme").click()
        if self.background() == before:
            self.find("the theme button changes nothing")
        self.check_charts("in the other theme")
        for axis in ("epoch", "minutes"):
            button = self.page.locator(f'[data-axis="{axis}"]')
            if button.count() and button.is_visible():
                button.click()
                title = self.page.locator('[data-chart="loss"] .xtitle').first.text_content()
                wanted = "epoch" if axis == "epoch" else "of training"
                if wanted not in title:
                    self.find(f"the axis button {axis} gives the axis '{title}'")
                self.check_charts(f"over {axis}")
        if self.page.locator("#smoothing").count():
            self.page.locator("#smoothing").fill("0")
            self.page.locator("#log-loss").check()
            self.check_charts("without smoothing, log loss")
        picture = self.page.locator(".picture button").first
        if self.page.locator(".picture button").count():
            picture.click()
            width = self.page.locator("#viewer img").evaluate("(image) => image.naturalWidth")
            if not self.page.locator("#viewer").evaluate("(d) => d.open") or width == 0:
                self.find("a picture does not enlarge")
            self.page.locator("#viewer-close").click()
            if self.page.locator("#viewer").evaluate("(d) => d.open"):
                self.find("the enlarged picture does not close")
        self.check_width()

    def check_print(self):
        self.page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
        self.page.emulate_media(media="print")
        self.check_charts("on paper")
        if self.background() != "rgb(255, 255, 255)":
            self.find(f"the printed page is {self.background()}")
        if self.arguments.screenshots and self.screen == "laptop" and self.scheme == "dark":
            self.page.pdf(path=self.arguments.screenshots / f"{self.path.stem}.pdf", format="A4")
        self.page.emulate_media(media="screen")
        self.page.evaluate("() => window.dispatchEvent(new Event('afterprint'))")

    def check_turning(self):
        """A phone that is turned, a window that is made smaller."""
        self.page.set_viewport_size({"width": 700, "height": 390})
        self.page.wait_for_timeout(400)  # the page waits for the end of a resize
        self.check_charts("after turning")
        self.check_width()

    def take_screenshot(self):
        if self.arguments.screenshots:
            self.arguments.screenshots.mkdir(parents=True, exist_ok=True)
            name = f"{self.path.stem}-{self.screen}-{self.scheme}.png"
            self.page.screenshot(path=self.arguments.screenshots / name, full_page=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", type=Path)
    parser.add_argument("--charts", type=int, default=0, help="at least so many charts on each page")
    parser.add_argument("--pictures", type=int, default=0, help="at least so many pictures on each page")
    parser.add_argument("--screen", choices=list(SCREENS), help="only this one")
    parser.add_argument("--scheme", choices=SCHEMES, help="only this one")
    parser.add_argument("--screenshots", type=Path, help="a folder for PNG files and a printed PDF")
    arguments = parser.parse_args()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        print("test_report_page: chromium is missing. HINT: apt-get install chromium", file=sys.stderr)
        return 2
    findings = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for path in arguments.pages:
            for screen in [arguments.screen] if arguments.screen else SCREENS:
                for scheme in [arguments.scheme] if arguments.scheme else SCHEMES:
                    findings += PageCheck(browser, path, screen, scheme, arguments).run()
        browser.close()
    for finding in findings:
        print(finding, file=sys.stderr)
    print(f"test_report_page: {len(arguments.pages)} pages, {len(findings)} findings")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
