import Foundation

/// What Linux tells about processes under `/proc`.
enum ProcessTable {
  /// The processes that a process has started and not yet reaped.
  static func children(of parent: pid_t) -> [pid_t] {
    let entries = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return entries.compactMap { pid_t($0) }.filter { status(of: $0)?.parent == parent }
  }

  /// Returns when the process has stopped or ended.
  static func waitUntilStopped(_ process: pid_t) {
    while let state = status(of: process)?.state, !"TtZX".contains(state) {
      usleep(500)
    }
  }

  /// Returns when the process has ended. Whether anybody reaps it does not matter: in a container nobody may.
  static func waitUntilGone(_ process: pid_t) {
    while let state = status(of: process)?.state, !"ZX".contains(state) {
      usleep(500)
    }
  }

  /// The state and parent, from `/proc/PID/stat` (`proc(5)`).
  private static func status(of process: pid_t) -> (state: Character, parent: pid_t)? {
    guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
      // The program's name before may hold spaces and parentheses of its own.
      let nameEnd = text.lastIndex(of: ")")
    else { return nil }
    let fields = text[text.index(after: nameEnd)...].split(separator: " ")
    guard fields.count > 1, let state = fields[0].first, let parent = pid_t(fields[1]) else { return nil }
    return (state, parent)
  }
}
