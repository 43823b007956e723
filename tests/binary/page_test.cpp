/// The page of `scores` as a browser lays it out, where there is Chromium: scripts/setup does not install it.

#include "binary/fixture.h"

namespace caiexport::binary {
namespace {

/// Shows a page at several widths and writes down what sticks out of what holds it. Parts that scroll may.
constexpr const char* kMeasure = R"html(<!doctype html><meta charset="utf-8"><body><pre id="found"></pre><script>
const found = document.getElementById('found');
function look(width, page) {
  const say = (element, what) => { found.textContent += `${width}: <${element.tagName}> ${what}: ${element.textContent.slice(0, 40)}\n`; };
  if (page.documentElement.scrollWidth > width) say(page.documentElement, 'is wider than the window');
  for (const element of page.querySelectorAll('section, section *')) {
    if (element.closest('.scroll, details') || element.closest('svg') && element.tagName !== 'text') continue;
    const holds = (element.closest('svg') || element.parentElement).getBoundingClientRect();
    const box = element.getBoundingClientRect();
    if (box.width > 0 && (box.left < holds.left - 1 || box.right > holds.right + 1)) say(element, 'sticks out');
    if (/^T[HD]$/.test(element.tagName) && element.scrollWidth > element.clientWidth + 1) say(element, 'is too narrow');
  }
  found.textContent += `${width}: looked at\n`;
}
for (const width of [1400, 1000, 700, 400, 320]) {
  const frame = document.createElement('iframe');
  frame.style.cssText = `width: ${width}px; height: 4000px; border: 0`;
  frame.onload = () => look(width, frame.contentDocument);
  frame.src = 'PAGE';
  document.body.append(frame);
}
</script>)html";

class PageInABrowser : public BinaryTest {
 protected:
  /// A line for each width, and before it one for each thing that sticks out there.
  std::string faultsOf(const std::string& page) {
    std::string measure = kMeasure;
    measure.replace(measure.find("'PAGE'") + 1, 4, page);
    std::ofstream(folder_ / "measure.html") << measure;
    const std::string command = "cd '" + folder_.path().string() + "' && env HOME='" + path("home") +
                                "' timeout 120 chromium --headless --no-sandbox --disable-gpu --disable-quic "
                                "--no-first-run --disable-background-networking --disable-component-update "
                                "--disable-sync --allow-file-access-from-files --user-data-dir='" +
                                path("browser") + "' --virtual-time-budget=10000 --dump-dom 'file://" +
                                path("measure.html") + "' > found.html 2> browser.log";
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    const std::string dom = support::Process::contentOf(path("found.html"));
    const std::size_t from = dom.find("<pre");
    return dom.substr(from, dom.find("</pre>") - from);
  }
};

/// Names of factors are as long as people make them, and some have no place to break.
TEST_F(PageInABrowser, NothingSticksOutAtAnyWidth) {
  if (!isInstalled("chromium")) {
    GTEST_SKIP() << "NOT CHECKED: how a browser lays it out, since chromium is missing (apt-get install chromium)";
  }
  startSimulator({"--records", "20000", "--files", "2"});
  ASSERT_EQ(run({"dataset", "--id", kScoreDataset, "--all"}).code, 0);
  const std::string folder = path("out/") + kScoreDataset;
  ASSERT_EQ(run({"scores", folder, "--against", "previous", "--output", path("short.html")}).code, 0);
  const std::string select =
      "SELECT {'churn': {'score': CAST(i % 101 AS DOUBLE), 'influentialFactors': list_transform(range(1, 13), lambda "
      "k: "
      "{'factorName': repeat('LangerNameOhneEnde'[1:k], k) || CASE WHEN k % 2 = 0 THEN ' und noch einige Wörter' ELSE "
      "'' "
      "END, 'importance': 'high'})}} AS _acme FROM range(1500000) t(i)";
  ASSERT_EQ(run({"read", folder, "--sql", select, "--output", path("long.parquet")}).code, 0);
  ASSERT_EQ(run({"scores", path("long.parquet"), "--output", path("long.html")}).code, 0);
  for (const std::string page : {"short.html", "long.html"}) {
    const std::string said = faultsOf(page);
    for (const std::string width : {"1400", "1000", "700", "400", "320"}) {
      EXPECT_THAT(said, testing::HasSubstr(width + ": looked at")) << page;
    }
    EXPECT_THAT(said, testing::Not(testing::HasSubstr("&lt;"))) << page;
  }
}

}  // namespace
}  // namespace caiexport::binary
