import RetentionModel
import TestSupport
import Testing

@testable import RetentionRunner

@Suite struct ConfigurationTests {
  private let folder: TemporaryFolder

  init() throws {
    folder = try TemporaryFolder()
  }

  private func configuration(
    flags: [ConfigurationFlag] = [],
    environment: [String: String] = [:],
    yaml: String? = nil
  ) throws -> RetentionConfiguration {
    try RetentionConfiguration(
      flags: flags,
      environment: environment,
      file: yaml.map { try folder.write("node.yaml", $0) }
    )
  }

  private func mistakes(environment: [String: String] = [:], yaml: String? = nil) throws -> [String] {
    let errors = try #require(throws: ConfigurationErrors.self) {
      try configuration(environment: environment, yaml: yaml)
    }
    return errors.mistakes
  }

  @Test("A flag goes before the environment, the environment before the file, the file before the default")
  func precedence() throws {
    let flags = [ConfigurationFlag(.retentionDays, "--retention-days", "1")]
    let environment = ["RUNTIME_JAM_RETENTION_DAYS": "2"]
    let yaml = "runtime:\n  jam:\n    retention_days: 3\n"
    let settings = [
      try configuration(flags: flags, environment: environment, yaml: yaml),
      try configuration(environment: environment, yaml: yaml),
      try configuration(environment: ["RUNTIME_JAM_RETENTION_DAYS": ""], yaml: yaml),
      try configuration(flags: [ConfigurationFlag(.retentionDays, "--retention-days", nil)]),
    ].map(\.retentionDays)
    #expect(settings.map(\.value) == [1, 2, 3, 30])
    #expect(settings.map(\.isSet) == [true, true, true, false])
    #expect(
      settings.map(\.origin.description) == [
        "flag --retention-days", "environment variable RUNTIME_JAM_RETENTION_DAYS", "\(folder.path)/node.yaml:3:5",
        "default",
      ]
    )
  }

  @Test("The environment can name the file; the flag goes before it")
  func fileFromEnvironment() throws {
    let one = try folder.write("one.json", #"{"runtime": {"jam": {"retention_days": 1}}}"#)
    let two = try folder.write(
      "two.json",
      "{\n\t\"runtime.jam\": {\"retention_days\": 2, \"blob_store\": {\"bucket\": \"b\"}}\n}"
    )
    let environment = ["JAM_RETENTION_CONFIG": one]
    #expect(try RetentionConfiguration(environment: environment).retentionDays.value == 1)
    #expect(try RetentionConfiguration(environment: environment, file: two).retentionDays.value == 2)
  }

  @Test("The connection string: flag, own variable, DATABASE_URL, file, libpq")
  func connectionString() throws {
    let flags = [ConfigurationFlag(.connectionString, "--dsn", "host=flag")]
    let own = ["RUNTIME_JAM_PG_DSN": "host=own", "DATABASE_URL": "host=url"]
    let url = ["DATABASE_URL": "host=url"]
    let yaml = "runtime: {jam: {pg_dsn: host=file}}"
    let texts = try [
      configuration(flags: flags, environment: own, yaml: yaml), configuration(environment: own, yaml: yaml),
      configuration(environment: url, yaml: yaml), configuration(yaml: yaml), configuration(),
    ].map { try $0.connectionString().description }
    #expect(texts == ["host=flag", "host=own", "host=url", "host=file", "libpq defaults"])
  }

  @Test("All mistakes come at once, with key, source and what is allowed; an unknown key with a suggestion")
  func allMistakes() throws {
    let yaml = """
      somebody: {else: [1, 2]}
      runtime:
        jam:
          retention_dayz: 3
          retention_days: 36501
          retention_interval: 90
          store: [postgres]
          enabled: maybe
          schema:
          blob_store: {endpoint: x}
      """
    let file = "\(folder.path)/node.yaml"
    let found = try mistakes(environment: ["RUNTIME_JAM_MODLE": "x", "RUNTIME_JAM_BLOB_STORE_BUCKET": "b"], yaml: yaml)
    #expect(
      found.map { $0.prefix { $0 != ")" } + ")" } == [
        "RUNTIME_JAM_MODLE (environment variable)", "runtime.jam.retention_dayz (\(file):4:5)",
        "runtime.jam.enabled (\(file):8:5)", "runtime.jam.store (\(file):7:5)",
        "runtime.jam.retention_days (\(file):5:5)", "runtime.jam.retention_interval (\(file):6:5)",
      ]
    )
    #expect(found[0].contains("did you mean \"RUNTIME_JAM_MODEL\"?"))
    #expect(found[1].contains("did you mean \"retention_days\"?") && found[1].contains("blob_store.bucket"))
    #expect(found[3].contains("postgres or memory") && found[4].contains("\"36501\""))
    #expect(try mistakes(yaml: "runtime: {jam: 5}").first?.contains("must hold keys") == true)
    let noKey = try mistakes(yaml: "runtime: {jam: {blob_store: {access_key: ''}}}")
    #expect(noKey.first?.contains("blob_store.access_key") == true && noKey.first?.contains("not empty") == true)
  }

  @Test("A file that is no YAML has a place in its error, and nothing of its text")
  func unreadable() throws {
    let found = try mistakes(yaml: "runtime:\n  jam: {pg_dsn: \"password=hunter2}")
    #expect(found.count == 1 && found[0].hasPrefix("\(folder.path)/node.yaml:2:") && !found[0].contains("hunter2"))
    #expect(try mistakes(yaml: "runtime: {jam: {store: memory, store: memory}}")[0].contains("twice: store"))
    let missing = try #require(throws: ConfigurationErrors.self) {
      try RetentionConfiguration(environment: [:], file: "/no")
    }
    #expect(missing.description.hasPrefix("/no cannot be read"))
  }

  @Test("A file whose aliases multiply is refused before it is read; one that has a few is not")
  func aliases() throws {
    let levels = (1...12).map {
      "a\($0): &a\($0) [\(Array(repeating: "*a\($0 - 1)", count: 9).joined(separator: ", "))]"
    }
    let found = try mistakes(
      yaml: (["a0: &a0 [x, x]"] + levels + ["runtime: {jam: {enabled: true}}"]).joined(separator: "\n")
    )
    #expect(found.count == 1 && found[0].contains("node.yaml: is too large") && found[0].contains("108 aliases"))
    let few = try configuration(yaml: "days: &days 14\nruntime: {jam: {retention_days: *days, model: '*.yaml'}}")
    #expect(few.retentionDays.value == 14)
  }

  @Test("Nothing that prints a configuration, or an error of it, shows the connection string")
  func redaction() throws {
    let secret = try configuration(environment: ["RUNTIME_JAM_PG_DSN": "host=h password=hunter2"])
    var dumped = "\(secret) \(String(reflecting: secret)) \(try secret.connectionString())"
    dump(secret, to: &dumped)
    #expect(!dumped.contains("hunter2"))
    let broken = try configuration(yaml: "runtime: {jam: {pg_dsn: 'passwort=hunter2'}}")
    let error = try #require(throws: ConfigurationErrors.self) { try broken.connectionString() }
    #expect(
      error.description.contains("pg_dsn (\(folder.path)/node.yaml:1:17)") && !error.description.contains("hunter2")
    )
  }

  @Test("A model is looked for beside the file that names it; flags change it")
  func model() throws {
    let yaml = "runtime: {jam: {model: model.yaml, refcounting: deferred}}"
    let error = try #require(throws: RunnerError.self) { try configuration(yaml: yaml).model() }
    #expect(error.description.hasPrefix("the model \(folder.path)/model.yaml cannot be read"))
    let flags = [ConfigurationFlag(.schema, "--schema", "Other")]
    let model = try configuration(flags: flags, environment: ["RUNTIME_JAM_REFCOUNTING": "deferred"]).model()
    #expect(model.schema == "Other" && model.refcounting == .deferred && model.tables == RetentionModel.jam.tables)
  }

  @Test(
    "Durations",
    arguments: [
      ("90s", 90), ("15m", 900), ("24h", 86400), ("7d", 604_800), ("0s", 0), ("24", nil), ("h", nil), ("-1h", nil),
      ("+1h", nil), ("1.5h", nil), ("1w", nil), ("", nil), ("1 h", nil), ("9223372036854775807d", nil),
    ] as [(String, Int?)]
  )
  func durations(text: String, seconds: Int?) {
    #expect(Duration(configured: text) == seconds.map { .seconds($0) })
  }
}
