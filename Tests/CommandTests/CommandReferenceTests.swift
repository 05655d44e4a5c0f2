import EmbeddedPostgres
import Foundation
import TestSupport
import Testing

/// The committed pages about the commands.
@Suite struct CommandReferenceTests {
  private static let folder = URL(filePath: #filePath).appending(path: "../../../Sources/jam-retention/Reference")
    .standardized

  @Test("There is a page for every command that says what --help says; make command-pages writes them")
  func pages() throws {
    let expected = try CommandReference().pages
    if ProcessInfo.processInfo.environment["JAM_ACCEPT_PAGES"] != nil {
      try? FileManager.default.removeItem(at: Self.folder)
      try FileManager.default.createDirectory(at: Self.folder, withIntermediateDirectories: true)
      for (name, text) in expected { try Data(text.utf8).write(to: Self.folder.appending(path: name)) }
    }
    let found = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path).filter { !$0.hasPrefix(".") }
    #expect(Set(found) == Set(expected.keys), "run make command-pages")
    for (name, text) in expected {
      let page = try? String(contentsOf: Self.folder.appending(path: name), encoding: .utf8)
      #expect(page == text, "\(name) is not what --help says: run make command-pages")
    }
    #expect(expected.count >= 2 * 20)
  }

  @Test("man pages are clean", .enabled("mandoc is not installed") { try DebianProgram.locate("mandoc") != nil })
  func manual() throws {
    let program = try #require(try DebianProgram.locate("mandoc"))
    let pages = try FileManager.default.contentsOfDirectory(atPath: Self.folder.path).filter { $0.hasSuffix(".1") }
    #expect(pages.count >= 20)
    for page in pages {
      // Of style, it wants a date, and a section of a system's manual for what is no system's program.
      let lint = try ChildProcess.run([program, "-T", "lint", "-W", "warning", Self.folder.appending(path: page).path])
      #expect(lint.status == 0, "\(lint.output)\(lint.error)")
    }
  }
}
