extension RetentionSchema {
  /// What monitoring reads, in `monitoring/`: it names metrics, and their names follow the model.
  var monitoring: [MigrationFile] {
    [alertRules, dashboard, sqlExporterCollector, postgresExporterQueries]
  }

  /// The comment above a file in YAML.
  func yamlHeader(_ lines: [String]) -> String {
    (["\(MigrationFile.mark) from the retention model. Change a copy, not this file."] + lines).map { "# \($0)\n" }
      .joined() + "\n"
  }
}
