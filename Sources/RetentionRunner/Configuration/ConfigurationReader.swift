import Configuration
import RetentionModel

/// Reads keys from all sources, the first that sets one wins, and collects the mistakes of all of them.
struct ConfigurationReader {
  private struct Source {
    let provider: any ConfigProvider
    let origin: (ConfigurationKey) -> ConfigurationOrigin
  }

  private let sources: [Source]
  private var mistakes: [String] = []
  private var concernsFlag = false

  /// All mistakes that were found; nil: there are none.
  var errors: ConfigurationErrors? {
    mistakes.isEmpty ? nil : ConfigurationErrors(mistakes: mistakes, concernsFlag: concernsFlag)
  }

  /// - Parameters:
  ///   - flags: go first.
  ///   - environment: goes second; an empty variable counts as absent.
  ///   - file: goes last; nil: there is none.
  init(flags: [ConfigurationFlag], environment: [String: String], file: ConfigurationFile?) {
    let given = flags.filter { $0.value != nil }
    let flagValues = given.map { ($0.key.absolute, ConfigValue(.string($0.value ?? ""), isSecret: $0.key.isSecret)) }
    var sources = [
      Source(provider: InMemoryProvider(name: "flags", values: Dictionary(flagValues) { $1 })) { key in
        .flag(given.first { $0.key == key }?.name ?? key.rawValue)
      },
      Source(
        provider: EnvironmentVariablesProvider(
          environmentVariables: environment.filter { !$0.value.isEmpty },
          secretsSpecifier: .all
        )
      ) { .environment($0.environmentVariable) },
    ]
    if let file {
      sources.append(Source(provider: file.provider) { .file(file.place(of: $0.absolute) ?? "") })
    }
    self.sources = sources
    reportUnknown(in: environment)
    if let file { reportUnknown(in: file) }
  }

  /// The value of a key; nil: nothing sets it.
  ///
  /// - Parameters:
  ///   - allowed: what may stand there, for the error.
  ///   - parse: nil: the text is not allowed.
  mutating func setting<Value>(
    _ key: ConfigurationKey,
    allowed: String,
    parse: (String) -> Value?
  ) -> Setting<Value?> {
    var result: Setting<Value?>?
    for source in sources {
      let origin = source.origin(key)
      let text: String?
      do {
        text = try source.provider.value(forKey: key.absolute, type: .string).value?.content.string
        if text == nil { continue }
      } catch {
        // A list or the like.
        text = nil
      }
      guard let parsed = text.flatMap(parse) else {
        report(key, origin, text, allowed: allowed)
        continue
      }
      result = result ?? Setting(value: parsed, origin: origin)
    }
    return result ?? Setting(value: nil, origin: .default)
  }

  /// Reports the value that counts of a key, for what another key makes of it.
  mutating func refuse(_ key: ConfigurationKey, allowed: String) {
    for source in sources {
      guard let text = try? source.provider.value(forKey: key.absolute, type: .string).value?.content.string else {
        continue
      }
      return report(key, source.origin(key), text, allowed: allowed)
    }
  }

  private mutating func report(_ key: ConfigurationKey, _ origin: ConfigurationOrigin, _ text: String?, allowed: String)
  {
    let shown = key.isSecret ? "the value" : text.map { "\"\($0)\"" } ?? "a list"
    mistakes.append("\(key.path) (\(origin)): \(shown) is not allowed; allowed: \(allowed)")
    concernsFlag = concernsFlag || origin.isFlag
  }

  // MARK: Unknown keys

  private mutating func reportUnknown(in environment: [String: String]) {
    let known = ConfigurationKey.allCases.map(\.environmentVariable)
    for name in environment.keys.sorted() where name.hasPrefix(ConfigurationKey.environmentPrefix) {
      guard !known.contains(name) else { continue }
      mistakes.append(
        "\(name) (environment variable): stands for no key\(Suggestion.text(for: name, among: known)); allowed: \(known.joined(separator: ", "))"
      )
    }
  }

  private mutating func reportUnknown(in file: ConfigurationFile) {
    let known = ConfigurationKey.allCases.map(\.rawValue)
    let allowed = known.joined(separator: ", ")
    for (key, place) in file.places where key.starts(with: ConfigurationKey.prefix) {
      let rest = key.dropFirst(ConfigurationKey.prefix.count)
      let name = rest.joined(separator: ".")
      guard !known.contains(name) else { continue }
      let problem =
        rest.isEmpty ? "must hold keys" : "there is no such key\(Suggestion.text(for: name, among: known))"
      mistakes.append("\(key.joined(separator: ".")) (\(place)): \(problem); allowed: \(allowed)")
    }
  }
}

extension ConfigContent {
  fileprivate var string: String? { if case .string(let text) = self { text } else { nil } }
}
