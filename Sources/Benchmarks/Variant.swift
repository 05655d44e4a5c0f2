import MigrationGenerator
import RetentionModel
import SafeSQL

/// What keeps the counts, or does not.
enum Variant: String, CaseIterable {
  /// Tables and indexes, no retention at all: the physical limit.
  case none
  /// What one writes first: row-level triggers that loop over the array and UPDATE the count.
  case rows
  /// No counting: a DELETE with cascades, then an anti-join of all blobs against all remaining references.
  case joins
  /// This retention, counting at once.
  case immediate
  /// This retention, counting in folds.
  case deferred

  /// Those that are this project.
  static let own: [Variant] = [.immediate, .deferred]

  /// The model of an own variant.
  var model: RetentionModel? {
    switch self {
    case .none, .rows, .joins: return nil
    case .immediate, .deferred:
      var model = RetentionModel.jam
      model.refcounting = self == .immediate ? .immediate : .deferred
      return model
    }
  }

  /// Lets nothing be left over from the round before: what waits to be counted, and dead rows.
  var settle: [SQL] {
    (model == nil ? [] : ["SELECT jam_fold_references()"]) + ["VACUUM (ANALYZE)"]
  }

  /// Deletes what is older than 30 days, in the variant's way.
  var cleanup: [SQL] {
    switch self {
    case .none: []
    case .rows: HandWritten.rowsCleanup
    case .joins: HandWritten.joinsCleanup
    case .immediate, .deferred: ["CALL jam_cleanup(\(Dataset.cutoff))"]
    }
  }
}
