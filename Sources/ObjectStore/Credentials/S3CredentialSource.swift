import Foundation

/// Where credentials come from: those given, else the environment, else the shared credentials file.
///
/// The names are those of the "AWS SDKs and Tools Reference Guide": `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and
/// `AWS_SESSION_TOKEN`; `AWS_SHARED_CREDENTIALS_FILE` (by default `~/.aws/credentials`) and `AWS_PROFILE` (by default
/// `default`).
public struct S3CredentialSource: Sendable, CustomStringConvertible, CustomReflectable {
  private static let defaultProfile = "default"

  private let given: S3Credentials?
  private let environment: [String: String]

  /// A source of credentials.
  ///
  /// - Parameters:
  ///   - given: credentials that go before all others.
  ///   - environment: the variables of the process.
  public init(given: S3Credentials? = nil, environment: [String: String] = ProcessInfo.processInfo.environment) {
    self.given = given
    self.environment = environment
  }

  /// Nothing of what is in it: the environment has secrets, too.
  public var description: String { "[redacted]" }
  /// Nothing of what is in it.
  public var customMirror: Mirror { Mirror(self, children: EmptyCollection<Mirror.Child>()) }

  /// Looks them up, anew with every call: the file may have changed.
  func read() throws -> S3Credentials {
    if let given { return given }
    if let identifier = variable("AWS_ACCESS_KEY_ID") {
      guard let secret = variable("AWS_SECRET_ACCESS_KEY") else {
        throw missing("AWS_ACCESS_KEY_ID is set and AWS_SECRET_ACCESS_KEY is not", remedy: "set both or neither")
      }
      return S3Credentials(
        accessKeyID: identifier,
        secretAccessKey: secret,
        sessionToken: variable("AWS_SESSION_TOKEN"),
        expiration: variable("AWS_CREDENTIAL_EXPIRATION").flatMap(Timestamp.iso8601)
      )
    }
    return try fromFile()
  }

  private func fromFile() throws -> S3Credentials {
    let profile = variable("AWS_PROFILE") ?? Self.defaultProfile
    let chosen = variable("AWS_SHARED_CREDENTIALS_FILE")
    let path = chosen ?? "\(variable("HOME") ?? NSHomeDirectory())/.aws/credentials"
    guard chosen != nil || FileManager.default.fileExists(atPath: path) else {
      throw missing(
        "no credentials are given",
        remedy: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write them to \(path)"
      )
    }
    guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
      throw missing("the credentials file \(path) cannot be read", remedy: "check its path and its permissions")
    }
    guard let section = SharedCredentialsFile(text).sections[profile] else {
      throw missing("\(path) has no profile [\(profile)]", remedy: "add it, or let AWS_PROFILE name another")
    }
    guard let identifier = section["aws_access_key_id"], let secret = section["aws_secret_access_key"] else {
      throw missing(
        "the profile [\(profile)] of \(path) lacks aws_access_key_id or aws_secret_access_key",
        remedy: "add them; other ways to get credentials are not supported"
      )
    }
    return S3Credentials(
      accessKeyID: identifier,
      secretAccessKey: secret,
      sessionToken: section["aws_session_token"],
      expiration: section["aws_expiration"].flatMap(Timestamp.iso8601)
    )
  }

  /// A variable that is set to something.
  private func variable(_ name: String) -> String? {
    environment[name].flatMap { $0.isEmpty ? nil : $0 }
  }

  private func missing(_ message: String, remedy: String) -> ObjectStoreError {
    ObjectStoreError(.invalidCredentials, doing: "find credentials", message, remedy: remedy)
  }
}
