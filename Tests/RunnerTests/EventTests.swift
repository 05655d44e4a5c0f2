import Foundation
import Testing

/// The README's tables of events and what the program logs.
@Suite struct EventTests {
  private static let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent()

  /// Event by event, its level.
  private func documented() throws -> [String: String] {
    let text = try String(contentsOf: Self.root.appending(path: "README.md"), encoding: .utf8)
    var events: [String: String] = [:]
    for table in text.split(separator: "\n| event | level | fields |\n").dropFirst() {
      for line in table.split(separator: "\n").dropFirst().prefix(while: { $0.hasPrefix("|") }) {
        let cells = line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
        for name in try #require(cells.first).matches(of: /`([^`]+)`/) { events[String(name.1)] = cells[1] }
      }
    }
    return events
  }

  /// The literals that stand where an event's name does, with the level that stands before them.
  private func logged() throws -> [(level: String, event: String)] {
    let sources = Self.root.appending(path: "Sources")
    let paths = try FileManager.default.subpathsOfDirectory(atPath: sources.path).filter { $0.hasSuffix(".swift") }
    return try paths.flatMap { path in
      let text = try String(contentsOf: sources.appending(path: path), encoding: .utf8)
      var found: [(level: String, event: String)] = []
      for call in text.matches(of: /logger\.(debug|info|notice|warning|error|critical)\(\s*"((?:[^"\\]|\\.)*)"/) {
        found.append((String(call.1), String(call.2)))
      }
      for call in text.matches(of: /logger\.log\(level: (level), "([^"]*)"/) {
        found.append((String(call.1), String(call.2)))
      }
      // The last line of a command.
      for call in text.matches(of: /event: "([^"]*)", \.(error|warning)/) {
        found.append((String(call.2), String(call.1)))
      }
      return found
    }
  }

  @Test("Every event that is logged at level info or above is in the README with its level, and no other")
  func documentedAsLogged() throws {
    let documented = try documented()
    let logged = try logged()
    #expect(documented.count > 10 && logged.count > 10)
    for (level, event) in logged where level != "debug" {
      let description = documented[event]
      #expect(description != nil, "\"\(event)\" is not in the README's table of events")
      #expect(level == "level" || description?.contains(level) == true, "\"\(event)\" is logged at level \(level)")
    }
    for event in documented.keys {
      #expect(logged.contains { $0.event == event }, "\"\(event)\" is in the README, but nothing logs it")
    }
  }
}
