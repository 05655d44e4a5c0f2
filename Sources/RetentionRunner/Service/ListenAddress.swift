/// Where the service listens.
public struct ListenAddress: Equatable, Sendable, CustomStringConvertible {
  /// A name or an address; one of IPv6 without its brackets.
  let host: String
  /// 0: the system chooses one.
  let port: Int

  /// Loopback: nobody else can ask.
  static let standard = ListenAddress(host: "127.0.0.1", port: 9470)

  init(host: String, port: Int) {
    self.host = host
    self.port = port
  }

  /// `HOST:PORT`, an address of IPv6 in brackets: `[::1]:9470`.
  init?(configured text: String) {
    guard let match = text.wholeMatch(of: /(?:\[([0-9A-Fa-f:.%]+)\]|([^\[\]:\/\s]+)):([0-9]{1,5})/),
      let host = match.1 ?? match.2, let port = UInt16(match.3)
    else { return nil }
    self.init(host: String(host), port: Int(port))
  }

  /// As it is written.
  public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}
