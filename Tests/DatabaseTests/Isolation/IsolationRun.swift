import RetentionModel

/// The circumstances of one run of a spec.
struct IsolationRun {
  let mode: RefcountingMode
  let level: IsolationLevel

  /// The names of the expected outputs that may hold for this run, the most particular first: `deferred.serializable`,
  /// and in the end the empty name, which holds for all runs that have no other. Those of REPEATABLE READ hold for
  /// SERIALIZABLE too, which adds to it.
  var variants: [String] {
    let levels =
      switch level {
      case .readCommitted: [""]
      case .repeatableRead: [".repeatable-read", ""]
      case .serializable: [".serializable", ".repeatable-read", ""]
      }
    let modes = mode == .immediate ? [""] : [".\(mode.rawValue)", ""]
    return levels.flatMap { level in modes.map { $0 + level } }
  }
}
