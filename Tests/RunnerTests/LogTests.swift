import Foundation
import Logging
import Synchronization
import Testing

@testable import RetentionRunner

@Suite struct LogTests {
  private final class Lines: Sendable {
    let all = Mutex<[String]>([])
  }

  private func lines(_ format: LogFormat, _ level: Logger.Level = .info, _ body: (Logger) -> Void) -> [String] {
    let lines = Lines()
    body(
      Logger(label: "test") { _ in
        LineLogHandler(format: format, level: level) { line in lines.all.withLock { $0.append(line) } }
      }
    )
    return lines.all.withLock { $0 }
  }

  @Test("Text: time, level, event, sorted metadata; a value that is not one word is quoted, and a line stays a line")
  func text() throws {
    let expected = "empty=\"\" error=\"a \\\"b\\\"\\nc\" run_id=7 status=completed\n"
    let found = lines(.text) { logger in
      logger.debug("left out")
      logger.info(
        "cleanup",
        metadata: ["run_id": .stringConvertible(7), "error": "a \"b\"\nc", "status": "completed", "empty": ""]
      )
    }
    let line = try #require(found.first)
    #expect(found.count == 1 && line.hasSuffix("Z info cleanup " + expected) && line.count == 25 + 13 + expected.count)
    #expect(
      try Date(String(line.prefix(24)), strategy: Date.ISO8601FormatStyle(includingFractionalSeconds: true)) <= .now
    )
  }

  @Test("JSON: one object a line, numbers and truth values as such")
  func json() throws {
    let found = lines(.json, .trace) { logger in
      var logger = logger
      logger[metadataKey: "always"] = "yes"
      logger.warning(
        "refcount anomaly",
        metadata: [
          "delta": .stringConvertible(-3), "ok": .stringConvertible(true), "text": "ä \"\\\u{1}\n",
          "list": ["a", .stringConvertible(1)],
        ]
      )
      logger.trace("second")
    }
    #expect(found.count == 2 && found.allSatisfy { $0.hasSuffix("}\n") && $0.count { $0 == "\n" } == 1 })
    let object = try #require(JSONSerialization.jsonObject(with: Data(found[0].utf8)) as? [String: Any])
    #expect(object["level"] as? String == "warning" && object["event"] as? String == "refcount anomaly")
    #expect(object["delta"] as? Int == -3 && object["ok"] as? Bool == true && object["always"] as? String == "yes")
    #expect(object["text"] as? String == "ä \"\\\u{1}\n" && (object["list"] as? [Any])?.count == 2)
    #expect(found[0].contains(#""delta":-3"#) && found[0].contains(#""ok":true"#))
  }
}
