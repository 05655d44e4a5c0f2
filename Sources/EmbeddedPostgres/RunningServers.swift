import Foundation
import Synchronization

/// The servers of this process, so that a normal exit stops those that a global variable still holds.
package enum RunningServers {
  private struct Entry: Sendable {
    weak let server: (any ThrowAwayServer)?
  }

  private static let entries = Mutex<[Entry]>([])

  private static let stopsAtExit: Void = {
    atexit {
      let servers = RunningServers.entries.withLock { $0.compactMap(\.server) }
      servers.forEach { $0.stop() }
    }
  }()

  /// Has a server stopped at the end, unless it is gone by then.
  package static func add(_ server: any ThrowAwayServer) {
    _ = stopsAtExit
    entries.withLock { entries in
      entries.removeAll { $0.server == nil }
      entries.append(Entry(server: server))
    }
  }
}
