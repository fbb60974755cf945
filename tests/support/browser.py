"""A real browser: Chromium, without a window, on a page in a file."""

import html
import json
import re
import subprocess

from support.debian import program
from support.stack.install import npm_package

AXE = "axe-core@4.14.1"
_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--hide-scrollbars", "--enable-logging=stderr", "--force-device-scale-factor=1"),
)
_PATIENCE = 120
_ASK = """
<script>{library}</script>
<script>
(async () => {{
  const name = {name}, answer = document.createElement("pre");
  try {{ answer.textContent = JSON.stringify(await (async () => {{ {question} }})()); }}
  catch (error) {{ answer.textContent = JSON.stringify({{failed: String(error)}}); }}
  answer.className = "answer";
  answer.id = name;
  parent.document.body.append(answer);
}})();
</script>
"""
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')


class Browser:
    """Shows pages with a profile of its own."""

    def __init__(self, folder):
        self.folder = folder

    def _run(self, page, *options):
        done = subprocess.run(
            [
                *(program("chromium"), *_OPTIONS),
                f"--user-data-dir={self.folder / 'profile'}",
                *(*options, page.as_uri()),
            ],
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=True,
        )
        said = [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
        return done.stdout, said

    def show(self, page):
        """What becomes of the page, as HTML, and what the browser has to say of it."""
        return self._run(page, "--dump-dom")

    def ask(self, page, question, *, width=1280):
        """What the body of an async function returns that is run in the page."""
        return self.ask_each([page], question, widths=[width])[0]

    def ask_each(self, pages, question, *, widths, dark=False, library=""):
        """What the function returns in each of the pages at each of the widths, pages first.

        In copies without the page's policy, which would not let it run, side by side in one window:
        to start a browser takes longer than to ask.
        """
        cases = [(page, width) for page in pages for width in widths]
        copy = self.folder / "asked.html"
        copy.write_text(
            '<!DOCTYPE html><meta charset="utf-8">'
            + "".join(
                _frame(page, width, _ASK.format(library=library, question=question, name=n))
                for n, (page, width) in enumerate(cases)
            ),
            encoding="utf-8",
        )
        shown, _ = self._run(
            copy,
            *("--dump-dom", "--virtual-time-budget=60000", "--window-size=1400,1000"),
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        )
        said = dict(re.findall(r'<pre class="answer" id="(\d+)">(.*?)</pre>', shown, re.DOTALL))
        answers = [json.loads(html.unescape(said[str(n)])) for n in range(len(cases))]
        assert not any("failed" in answer for answer in answers), answers
        return answers

    def faults(self, pages, **options):
        """What axe finds wrong with each, at each width: (rule, impact, the first element)."""
        library = (npm_package(AXE) / "axe.min.js").read_text(encoding="utf-8")
        question = """
            const found = await axe.run(document, {resultTypes: ["violations"]});
            return {faults: found.violations.map(
              (each) => [each.id, each.impact, each.nodes[0].html])};
        """
        found = self.ask_each(pages, question, library=library, **options)
        return [[tuple(fault) for fault in each["faults"]] for each in found]

    def pages(self, page):
        """On how many sheets of paper it is printed."""
        target = self.folder / "printed.pdf"
        self._run(page, f"--print-to-pdf={target}", "--no-pdf-header-footer")
        return len(re.findall(rb"/Type\s*/Page\b", target.read_bytes()))


def _frame(page, width, script):
    """The page in a frame, which can be as narrow as a phone, as a window cannot."""
    text = _POLICY.sub("", page.read_text(encoding="utf-8"), count=1)
    text = html.escape(text.replace("</body>", f"{script}</body>"))
    return f'<iframe width={width} height=900 style="border:0" srcdoc="{text}"></iframe>'
