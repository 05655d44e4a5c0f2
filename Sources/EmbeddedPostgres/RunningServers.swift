import Foundation
import Synchronization

/// The servers of this process, so that a normal exit stops those that a global variable still holds.
enum RunningServers {
  private struct Entry: Sendable {
    weak let server: EmbeddedPostgres?
  }

  private static let entries = Mutex<[Entry]>([])

  private static let stopsAtExit: Void = {
    atexit {
      let servers = RunningServers.entries.withLock { $0.compactMap(\.server) }
      servers.forEach { $0.stop() }
    }
  }()

  static func add(_ server: EmbeddedPostgres) {
    _ = stopsAtExit
    entries.withLock { entries in
      entries.removeAll { $0.server == nil }
      entries.append(Entry(server: server))
    }
  }
}
