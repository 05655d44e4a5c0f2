import EmbeddedPostgres
import Foundation
import Postgres
import RetentionModel
import RetentionRunner
import SafeSQL
import TestSupport
import Testing

/// The page in a real browser, and by checkers of HTML and of accessibility. `JAM_PAGES` names a folder that then keeps
/// pages and pictures.
@Suite(.serialized) struct StatusPageTests {
  private static let folder: String? = ProcessInfo.processInfo.environment["JAM_PAGES"]

  private static let made: [(PageSample, Result<String, any Error>)] = PageSample.allCases.map { sample in
    (sample, Result { try sample.page() })
  }

  private func page(_ sample: PageSample) throws -> String {
    try #require(Self.made.first { $0.0 == sample }).1.get()
  }

  /// Each sample at each width.
  private func pages(_ widths: Int...) throws -> [(sample: PageSample, page: String, width: Int)] {
    try PageSample.allCases.flatMap { sample in try widths.map { (sample, try page(sample), $0) } }
  }

  private func ask(_ page: String, _ script: String, scheme: Browser.Scheme = .light, keepsPolicy: Bool = false) throws
    -> String
  {
    try Browser.ask([(page, 1200)], script, scheme: scheme, keepsPolicy: keepsPolicy)[0]
  }

  @Test("The verdict stands at the top, and what fails stands before what does not")
  func verdict() throws {
    let failing = try page(.failing)
    #expect(failing.contains("<h1 class=\"bad\">Needs attention: triggers, indexes, last success and "))
    let first = try #require(failing.range(of: "<span class=\"mark\">Pass</span>"))
    let last = try #require(failing.range(of: "<span class=\"mark\">Fail</span>", options: .backwards))
    #expect(last.upperBound < first.lowerBound)
    #expect(failing.contains("Apply 030_indexes.sql again."))
    #expect(try page(.healthy).contains("<h1 class=\"good\">Healthy</h1>"))
    let empty = try page(.empty)
    #expect(empty.contains("<h1 class=\"good\">Healthy</h1>") && empty.contains("No cleanup has run yet"))
    #expect(empty.contains("There are no blobs") && empty.contains("No history yet"))
  }

  @Test("The page loads nothing, runs nothing, and its policy names its own style sheet")
  func selfContained() throws {
    // The hostile one has all of this in its texts.
    for sample in PageSample.allCases where sample != .hostile {
      let page = try page(sample)
      // Every place from which HTML loads something, and every one in which a script could be.
      for part in ["src=", "href=", "url(", "@import", "<script", "<link", "<iframe", "javascript:", " style=\""] {
        #expect(!page.contains(part), "\(sample): \(part)")
      }
      #expect(page.firstMatch(of: #/ on[a-z]+="/#) == nil, "\(sample)")
      let policy = try #require(page.firstMatch(of: #/Content-Security-Policy" content="([^"]+)"/#)).1
      let sent = try #require(StatusPage.headers.first { $0.name == "Content-Security-Policy" }).value
      let unescaped = policy.replacing("&#39;", with: "'")
      #expect(sent.hasPrefix(unescaped) && unescaped.hasPrefix("default-src 'none'; style-src 'sha256-"))
    }
  }

  @Test(
    "A browser applies the style sheet under the page's own policy",
    .enabled("there is no Chromium") { hasBrowser }
  )
  func policy() throws {
    // The probe is let in beside what the policy allows; a wrong hash would leave the browser's own margins.
    let page = try page(.healthy).replacing("default-src", with: "script-src &#39;unsafe-inline&#39;; default-src")
    let script = "return getComputedStyle(document.querySelector('h1')).fontSize"
    let sizes = try Browser.ask(
      [(page, 1200), (page.replacing("sha256-", with: "sha256-x"), 1200)],
      script,
      keepsPolicy: true
    )
    #expect(sizes[0] == "36px" && sizes[1] != "36px")
  }

  @Test(
    "Nothing from the database becomes markup or turns text around",
    .enabled("there is no Chromium") { hasBrowser }
  )
  func hostile() throws {
    let page = try page(.hostile)
    #expect(!page.unicodeScalars.contains("\u{202E}"))
    // What is stored in the class with that name, not in one that its quotes have cut out of it.
    #expect(page.contains("</bdi></b> <span title=\"9,223,372,036,854,775,807 bytes\">"))
    #expect(!page.contains("<bdi class=\"short\" title=\"\"></bdi></b>"))
    let answer = try ask(
      page,
      """
      const foreign = [...document.querySelectorAll('script:not(#probe), img')].length;
      const handlers = [...document.querySelectorAll('*')].filter(e => [...e.attributes].some(a => a.name.startsWith('on'))).length;
      const unclosed = document.querySelectorAll('main > section').length;
      const cells = [...document.querySelectorAll('.hash, bdi, dd, .note td, code, span')].map(e => e.textContent);
      return [foreign, handlers, unclosed, document.title.includes('jam-retention'), cells.filter(t => t.includes(`PAYLOAD`)).length > 5].join();
      """.replacing("PAYLOAD", with: PageSample.payload.replacing("</script>", with: "</scr${''}ipt>"))
    )
    #expect(answer == "0,0,7,true,true")
  }

  @Test("No page is wider than the screen, and nothing is too small", .enabled("there is no Chromium") { hasBrowser })
  func fits() throws {
    let pages = try pages(320, 360, 768, 1200)
    let answers = try Browser.ask(
      pages.map { ($0.page, $0.width) },
      """
      document.querySelectorAll('details').forEach(details => { details.open = true });
      const root = document.documentElement;
      const shown = [...document.querySelectorAll('body *')].filter(e => e.getClientRects().length);
      const wide = shown.filter(e => !e.closest('.scroll') && e.getBoundingClientRect().right > root.clientWidth + 0.5);
      const small = shown.filter(e => parseFloat(getComputedStyle(e).fontSize) < 12);
      const charts = shown.filter(e => e.matches('svg.chart'));
      const isLegible = charts.every(e => e.getBoundingClientRect().width / e.viewBox.baseVal.width > 0.75);
      return JSON.stringify([root.scrollWidth > root.clientWidth, wide.slice(0, 3).map(e => e.outerHTML.slice(0, 80)),
        small.slice(0, 3).map(e => e.outerHTML.slice(0, 80)), charts.length, isLegible]);
      """
    )
    for ((sample, _, width), answer) in zip(pages, answers) {
      #expect(answer == "[false,[],[],\(sample == .empty ? 0 : 1),true]", "\(sample), \(width)")
    }
  }

  @Test("It is dark in the dark and light in the light", .enabled("there is no Chromium") { hasBrowser })
  func schemes() throws {
    let script = "return getComputedStyle(document.documentElement).backgroundColor"
    #expect(try ask(page(.healthy), script, scheme: .light) == "rgb(253, 253, 251)")
    #expect(try ask(page(.healthy), script, scheme: .dark) == "rgb(23, 25, 28)")
  }

  @Test(
    "The chart is drawn: its colours are in a picture of the page",
    .enabled("there is no Chromium") { hasBrowser }
  )
  func picture() throws {
    let folder = try TemporaryFolder()
    let path = "\(folder.path)/page.png"
    try Browser.picture(page(.healthy), width: 1200, height: 1400, to: path)
    let data = try Data(contentsOf: URL(filePath: path)).base64EncodedString()
    let answer = try ask(
      "<!DOCTYPE html><html><body><img src=\"data:image/png;base64,\(data)\"></body></html>",
      """
      const image = document.querySelector('img');
      const canvas = document.createElement('canvas'); canvas.width = image.width; canvas.height = image.height;
      const context = canvas.getContext('2d'); context.drawImage(image, 0, 0);
      const bytes = context.getImageData(0, 0, image.width, image.height).data;
      const count = (r, g, b) => { let n = 0; for (let i = 0; i < bytes.length; i += 4) n += Math.abs(bytes[i] - r) < 3 && Math.abs(bytes[i + 1] - g) < 3 && Math.abs(bytes[i + 2] - b) < 3; return n };
      // The areas of the two classes, and the paper.
      return [count(196, 210, 221) > 20000, count(240, 221, 198) > 2000, count(253, 253, 251) > 800000].join();
      """
    )
    #expect(answer == "true,true,true")
  }

  @Test(
    "The Nu Html Checker finds no error",
    .enabled("vnu.jar or Java is not installed: run make test-deps") { Browser.vnu != nil && hasJava }
  )
  func validHTML() throws {
    let folder = try TemporaryFolder()
    for sample in PageSample.allCases { try folder.write("\(sample).html", page(sample)) }
    // It is older than this property: CSS Color Adjustment Module Level 1, section 2.2.
    let known = #".*Property “color-scheme” doesn't exist.*"#
    let command = ["java", "-jar", try #require(Browser.vnu), "--errors-only", "--filterpattern", known, folder.path]
    let result = try ChildProcess.run(command)
    #expect(result.status == 0 && result.error == "", "\(result.error)")
    // It is really asked.
    try folder.write("broken.html", page(.empty).replacing("</h1>", with: "</h2>"))
    #expect(try ChildProcess.run(command).error.contains("broken.html"))
  }

  private static let hasJava: Bool = (try? ChildProcess.run(["java", "-version"]).status) == 0

  private static let hasBrowser: Bool = Browser.program != nil
  private static let hasAxe: Bool = hasBrowser && Browser.axe != nil

  @Test(
    "axe-core finds nothing, in the light, in the dark and on a phone",
    .enabled("Chromium or axe-core is not installed: run make test-deps") { hasAxe },
    arguments: Browser.Scheme.allCases
  )
  func accessible(scheme: Browser.Scheme) throws {
    let pages = try pages(360, 1200)
    let found = try Self.violations(pages.map { ($0.page, $0.width) }, scheme)
    for ((sample, _, width), found) in zip(pages, found) { #expect(found == "", "\(sample), \(width)") }
  }

  @Test("axe-core is really asked", .enabled("Chromium or axe-core is not installed: run make test-deps") { hasAxe })
  func inaccessible() throws {
    let page = try page(.healthy).replacing(" lang=\"en\"", with: "").replacing(
      "--quiet: #5d6268",
      with: "--quiet: #bbb"
    )
    let found = try Self.violations([(page, 1200)], .light)[0]
    #expect(found.contains("html-has-lang") && found.contains("color-contrast"))
  }

  /// The rules that each page breaks, with elements.
  private static func violations(_ pages: [(page: String, width: Int)], _ scheme: Browser.Scheme) throws -> [String] {
    let axe = try String(contentsOfFile: try #require(Browser.axe), encoding: .utf8)
    let script = "<script id=\"axe\">\(axe.replacing("</script", with: "<\\/script"))</script></body>"
    return try Browser.ask(
      pages.map { ($0.page.replacing("</body>", with: script), $0.width) },
      """
      document.querySelectorAll('details').forEach(details => { details.open = true });
      const result = await axe.run(document);
      if (result.passes.length < 10) return 'hardly anything was checked';
      return result.violations.map(v => v.id + ' ' + v.nodes.slice(0, 3).map(n => n.html.slice(0, 120)).join(' | ')).join('\\n');
      """,
      scheme: scheme
    )
  }

  @Test("Pages and pictures for people", .enabled("JAM_PAGES names no folder") { folder != nil })
  func keep() throws {
    let folder = try #require(Self.folder)
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    for sample in PageSample.allCases {
      let page = try page(sample)
      try Data(page.utf8).write(to: URL(filePath: "\(folder)/\(sample).html"))
      guard Browser.program != nil else { continue }
      for (width, name) in [(1200, "wide"), (360, "narrow")] {
        let height = try Int(Browser.ask([(page, width)], "return document.documentElement.scrollHeight")[0]) ?? 1000
        for scheme in Browser.Scheme.allCases {
          let path = "\(folder)/\(sample)-\(name)-\(scheme).png"
          try Browser.picture(page, width: width, height: height, scheme: scheme, to: path)
        }
      }
    }
  }
}
