import EmbeddedPostgres
import Foundation
import TestSupport
import Testing

/// A headless Chromium, and two checkers of pages; where one is missing, its tests are skipped.
enum Browser {
  /// `JAM_CHROMIUM`, else the system's.
  static let program: String? = {
    let chosen = ProcessInfo.processInfo.environment["JAM_CHROMIUM"]
    let candidates =
      chosen.map { [$0] } ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"]
    return candidates.first(where: FileManager.default.isExecutableFile)
  }()

  /// axe-core's script, as `make test-deps` installs it.
  static let axe: String? = checker("axe.min.js")
  /// The Nu Html Checker, as `make test-deps` installs it.
  static let vnu: String? = checker("vnu.jar")

  private static func checker(_ name: String) -> String? {
    let path = "\(FileManager.default.currentDirectoryPath)/.build/checkers/\(name)"
    return FileManager.default.fileExists(atPath: path) ? path : nil
  }

  enum Scheme: String, CaseIterable {
    case light, dark
  }

  /// What a script says that runs in each of the pages once it is shown.
  ///
  /// A page is in a frame, as wide as it should be: a window of Chromium is never narrower than 500 pixels. It is without
  /// its Content-Security-Policy, which would keep out what a test looks for.
  ///
  /// - Parameters:
  ///   - script: the body of an asynchronous function that returns text.
  ///   - keepsPolicy: whether a page's policy stays, which then must allow the script.
  static func ask(
    _ pages: [(page: String, width: Int)],
    _ script: String,
    scheme: Scheme = .light,
    keepsPolicy: Bool = false
  ) throws -> [String] {
    let folder = try TemporaryFolder()
    let frame = try frame(pages, probe: script, height: 800, keepsPolicy: keepsPolicy, in: folder)
    let result = try run(["--dump-dom", "--window-size=1400,900", frame], scheme: scheme, in: folder)
    return try pages.indices.map { position in
      let pattern = try Regex("<pre id=\"answer\(position)\"[^>]*>(.*?)</pre>", as: (Substring, Substring).self)
        .dotMatchesNewlines()
      let answer = try #require(result.firstMatch(of: pattern), "no place for an answer: \(result.suffix(500))").1
      try #require(answer.hasPrefix("answer: "), "no answer of page \(position): \(answer)")
      return String(answer.dropFirst("answer: ".count))
        .replacing("&lt;", with: "<").replacing("&gt;", with: ">").replacing("&amp;", with: "&")
    }
  }

  /// A picture of the page, as a PNG.
  static func picture(_ page: String, width: Int, height: Int, scheme: Scheme = .light, to path: String) throws {
    let folder = try TemporaryFolder()
    let frame = try frame([(page, width)], probe: "return ''", height: height, in: folder)
    let arguments = ["--screenshot=\(path)", "--window-size=\(max(500, width)),\(height)", "--hide-scrollbars", frame]
    _ = try run(arguments, scheme: scheme, in: folder)
    try #require(FileManager.default.fileExists(atPath: path), "no picture")
  }

  private static func frame(
    _ pages: [(page: String, width: Int)],
    probe: String,
    height: Int,
    keepsPolicy: Bool = false,
    in folder: TemporaryFolder
  ) throws -> String {
    let policy = #/<meta http-equiv="Content-Security-Policy"[^>]*>/#
    var answers = ""
    var frames = ""
    for (position, (page, width)) in pages.enumerated() {
      let probed = (keepsPolicy ? page : page.replacing(policy, with: "")).replacing(
        "</body>",
        with: """
          <script id="probe">
          window.onload = async () => {
            let answer;
            try { answer = await (async () => { \(probe) })(); } catch (error) { answer = 'error ' + error; }
            parent.postMessage([\(position), 'answer: ' + answer], '*');
          };
          </script></body>
          """
      )
      try folder.write("page\(position).html", probed)
      answers += "<pre id=\"answer\(position)\" hidden></pre>\n"
      frames += "<iframe src=\"page\(position).html\" width=\"\(width)\" height=\"\(height)\"></iframe>\n"
    }
    return try "file://"
      + folder.write(
        "frame.html",
        """
        <!DOCTYPE html><meta charset="utf-8"><style>html, body { margin: 0 } iframe { border: 0 }</style>
        <script>
        onmessage = event => { document.getElementById('answer' + event.data[0]).textContent = event.data[1] };
        </script>
        \(answers)\(frames)
        """
      )
  }

  private static func run(_ arguments: [String], scheme: Scheme, in folder: TemporaryFolder) throws -> String {
    let program = try #require(program)
    let result = try ChildProcess.run(
      [
        program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--user-data-dir=\(folder.path)/profile", "--virtual-time-budget=20000",
        "--blink-settings=preferredColorScheme=\(scheme == .dark ? 0 : 1)",
      ] + arguments
    )
    return result.output
  }
}
