import EmbeddedPostgres
import Foundation

/// A certificate authority of its own for a throw-away server, made by `openssl`, with a certificate for `localhost`.
struct ThrowAwayAuthority {
  private static let program = "openssl"
  /// Days for which the certificates are valid.
  private static let days = "2"

  /// The authority's certificate, PEM.
  let authorityFile: String
  /// The server's certificate, PEM.
  let certificateFile: String
  /// Its private key, PEM.
  let keyFile: String

  /// Whether `openssl` is installed.
  static let isPossible = (try? ChildProcess.run([program, "version"]).status) == 0

  /// Makes both in a directory.
  init(in directory: String) throws {
    authorityFile = "\(directory)/authority.pem"
    certificateFile = "\(directory)/certificate.pem"
    keyFile = "\(directory)/key.pem"
    let newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", Self.days]
    let authorityKey = "\(directory)/authority.key"
    try Self.run(
      ["req", "-x509", "-subj", "/CN=Throw-away authority", "-keyout", authorityKey, "-out", authorityFile] + newKey
    )
    try Self.run(
      ["req", "-x509", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        + ["-addext", "basicConstraints=critical,CA:FALSE", "-CA", authorityFile, "-CAkey", authorityKey]
        + ["-keyout", keyFile, "-out", certificateFile] + newKey
    )
  }

  private static func run(_ arguments: [String]) throws {
    let result = try ChildProcess.run([program] + arguments)
    guard result.status == 0 else { throw EmbeddedSeaweedError("no certificate can be made: \(result.error)") }
  }
}
