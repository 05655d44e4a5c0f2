import RetentionModel
import SafeSQL

/// Turns a model into the files of `sql/`. Pure: the same model gives the same bytes, on every machine.
public enum MigrationGenerator {
  /// All files of the model: migrations in the order in which they are applied, in subfolders those that are applied by
  /// hand, and what monitoring reads.
  ///
  /// The model must have passed `validate()`.
  public static func files(for model: RetentionModel) -> [MigrationFile] {
    let schema = RetentionSchema(model)
    return [
      schema.adoption(),
      schema.applicationTables(),
      schema.retentionTables(),
      schema.storageTables(),
      schema.totalsTable(),
      schema.blobStoreTables(),
      schema.archiveTables(),
      schema.storageHistoryTable(),
      schema.indexes(),
      schema.counting(),
      schema.countingTriggers(),
      schema.backfill(),
      schema.archiving(),
      schema.cleanup(),
      schema.blobStore(),
      schema.observability(),
      schema.grants(),
      schema.cronSchedule(),
      schema.uninstall(),
      schema.revokedGrants(),
      schema.cronUnschedule(),
    ].map { $0.rendered(installerLock: schema.names.installerLock) } + schema.monitoring
  }

  /// Every table that the files create or change, the application's first; only its owner can apply them.
  public static func tables(of model: RetentionModel) -> [QualifiedName] {
    let schema = RetentionSchema(model)
    return model.tables.map { schema.names.table($0.name) }
      + schema.retentionTableNames.map { schema.names.qualified($0) }
  }
}
