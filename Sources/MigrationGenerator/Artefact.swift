import SafeSQL

/// A file before it is rendered: what its header says, and its statements.
struct Artefact {
  enum Kind: String {
    /// A released file never changes.
    case versioned
    /// Applied again whenever its text changes.
    case repeatable
  }

  var path: String
  var kind: Kind
  /// `false` for statements that PostgreSQL refuses inside a transaction.
  var isTransactional = true
  /// What the file does, a line each.
  var purpose: [String]
  /// Which locks it takes and for how long, a line each.
  var locks: [String]
  /// What squawk would say of this file and why it does not apply here.
  var lintException: LintException?
  var body: SQL

  struct LintException {
    var rules: [String]
    /// A line each.
    var reason: [String]
  }

  /// Names of tables may stand in it, and a name may hold a newline.
  private static func commentLine(_ text: String) -> String {
    let line: SQL = "--   \(comment: text)"
    return line.text
  }

  /// - Parameter installerLock: the advisory lock that serialises installers.
  func rendered(installerLock: Int64) -> MigrationFile {
    let title = path.split(separator: "/").last.map(String.init) ?? path
    var header = ["-- \(MigrationFile.mark) from the retention model. Change the model, not this file.", "--"]
    header.append("-- \(title)")
    header += purpose.map(Self.commentLine)
    header.append("-- locks:")
    header += locks.map(Self.commentLine)
    header.append("-- rerun: safe at any time")
    header.append("-- kind: \(kind.rawValue)")
    if !isTransactional { header.append("-- transaction: none") }
    if let lintException {
      header.append("-- lint:")
      header += lintException.reason.map(Self.commentLine)
      header.append("-- squawk-ignore-file \(lintException.rules.joined(separator: ", "))")
    }
    let statements = serialised(lock: installerLock)
    return MigrationFile(path: path, text: header.joined(separator: "\n") + "\n\n" + statements.text + "\n")
  }

  /// The statements under the installers' lock.
  private func serialised(lock: Int64) -> SQL {
    let acquire: SQL = """
      BEGIN
        WHILE NOT pg_catalog.pg_try_advisory_lock(\(lock)) LOOP
          COMMIT;
          PERFORM pg_catalog.pg_sleep(0.1);
        END LOOP;
      END
      """
    let handOver: SQL = """
      BEGIN
        PERFORM pg_catalog.pg_advisory_xact_lock(\(lock));
        PERFORM pg_catalog.pg_advisory_unlock(\(lock));
      END
      """
    let release: SQL = """
      BEGIN
        PERFORM pg_catalog.pg_advisory_unlock(\(lock));
      END
      """
    // Above it counts could not be folded, nor anything be seen that was committed since. Released files stay as they are.
    let begin: SQL = kind == .repeatable ? "BEGIN ISOLATION LEVEL READ COMMITTED;" : "BEGIN;"
    let lines: SQL =
      isTransactional
      ? """
      \(begin)

      -- From here on the lock is the transaction's: nothing of it outlives an error.
      DO \(handOver.dollarQuoted());

      \(body)

      COMMIT;
      """
      : """
      \(body)

      DO \(release.dollarQuoted());
      """
    return """
      -- One installer at a time. It asks again instead of waiting: a statement that waits holds a snapshot, and CREATE INDEX
      -- CONCURRENTLY in another installer would wait for that in turn.
      DO \(acquire.dollarQuoted());

      \(lines)
      """
  }
}
