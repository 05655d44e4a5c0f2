import Foundation

/// The user that the server runs as in place of root.
struct ServerAccount: CustomStringConvertible {
  static let name = "postgres"

  let user: uid_t
  let group: gid_t

  var description: String { "user \(Self.name)" }

  /// The account, or `nil` when this process is not root's or the account does not exist.
  static func needed() -> ServerAccount? {
    guard geteuid() == 0, let entry = getpwnam(name) else { return nil }
    return ServerAccount(user: entry.pointee.pw_uid, group: entry.pointee.pw_gid)
  }

  /// The command that changes to the account and then runs what follows it.
  static func prefix(orElse otherwise: [String] = []) throws -> [String] {
    guard geteuid() == 0 else { return otherwise }
    guard let account = needed() else {
      throw EmbeddedPostgresError(
        "PostgreSQL does not run as root, and there is no user \(name); make one (useradd --system \(name))"
      )
    }
    return ["setpriv", "--reuid=\(account.user)", "--regid=\(account.group)", "--clear-groups"]
  }
}
