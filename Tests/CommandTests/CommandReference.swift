import Foundation
import Testing

/// The pages about the commands, made from what the program says of itself: one in Markdown and one for `man` each.
struct CommandReference {
  /// A command as `--experimental-dump-help` describes it.
  struct Description: Decodable {
    struct Argument: Decodable {
      struct Name: Decodable {
        var kind: String
        var name: String

        var text: String { kind == "long" ? "--\(name)" : "-\(name)" }
      }

      var kind: String
      var shouldDisplay: Bool
      var isOptional: Bool
      var isRepeating: Bool
      var names: [Name]?
      var valueName: String?
      var abstract: String?
      var discussion: String?
      var defaultValue: String?
      var allValues: [String]?
    }

    var commandName: String
    var abstract: String?
    var discussion: String?
    var shouldDisplay: Bool
    var arguments: [Argument]?
    var subcommands: [Description]?
  }

  private struct Dump: Decodable { var command: Description }

  /// Files by their path below the folder of pages.
  let pages: [String: String]

  init() throws {
    let dump = try Command.run(["--experimental-dump-help"])
    let root = try JSONDecoder().decode(Dump.self, from: Data(dump.output.utf8)).command
    var pages: [String: String] = [:]
    try Self.visit(root, path: []) { command, path in
      let name = path.joined(separator: "-")
      let help = try Command.run(Array(path.dropFirst()) + ["--help"])
      try #require(help.status == 0, "\(path)")
      pages["\(name).md"] =
        "# \(path.joined(separator: " "))\n\n```\n\(help.output.trimmingCharacters(in: .newlines))\n```\n"
      pages["\(name).1"] = Self.manual(command, path: path)
    }
    self.pages = pages
  }

  private static func visit(_ command: Description, path: [String], _ body: (Description, [String]) throws -> Void)
    throws
  {
    guard command.shouldDisplay, command.commandName != "help" else { return }
    let path = path + [command.commandName]
    try body(command, path)
    for subcommand in command.subcommands ?? [] { try visit(subcommand, path: path, body) }
  }

  /// Source: mdoc(7).
  private static func manual(_ command: Description, path: [String]) -> String {
    let name = path.joined(separator: "-")
    let arguments = (command.arguments ?? []).filter(\.shouldDisplay)
    let subcommands = (command.subcommands ?? []).filter { $0.shouldDisplay && $0.commandName != "help" }
    var lines = [
      #".\" Generated from what the program says of itself: make command-pages"#, ".Dd November 24, 2026",
      ".Dt \(name.uppercased()) 1", ".Os", ".Sh NAME", ".Nm \(name)",
      ".Nd \(escaped((command.abstract ?? "").trimmingCharacters(in: CharacterSet(charactersIn: "."))))",
      ".Sh SYNOPSIS",
      ".Nm \(path.joined(separator: " "))",
    ]
    lines += arguments.map(synopsis)
    if !subcommands.isEmpty { lines.append(".Ar command") }
    lines += [".Sh DESCRIPTION", escaped(command.abstract ?? "")]
    if let discussion = command.discussion, !discussion.isEmpty { lines += [".Pp", escaped(discussion)] }
    if !subcommands.isEmpty {
      lines += [".Pp", "The commands are:", ".Bl -tag -width indent"]
      for subcommand in subcommands {
        lines += [".It Xr \(name)-\(subcommand.commandName) 1", escaped(subcommand.abstract ?? "")]
      }
      lines.append(".El")
    }
    if !arguments.isEmpty {
      lines += [".Pp", "The arguments are:", ".Bl -tag -width indent"]
      lines += arguments.flatMap(item)
      lines.append(".El")
    }
    lines += [
      ".Sh EXIT STATUS",
      "0: done; 1: failed; 2: usage; 3: findings; 130 and 143: stopped by SIGINT or SIGTERM.",
    ]
    if path.count > 1 { lines += [".Sh SEE ALSO", ".Xr \(path.dropLast().joined(separator: "-")) 1"] }
    return lines.joined(separator: "\n") + "\n"
  }

  /// mdoc's macro for an argument: `Fl \-dsn Ar dsn`.
  private static func macro(_ argument: Description.Argument) -> String {
    let names = (argument.names ?? []).sorted { $0.kind > $1.kind }.map {
      "Fl \($0.kind == "long" ? "\\-" : "")\(escaped($0.name))"
    }
    let value = argument.valueName.map { "Ar \(escaped($0))" } ?? ""
    switch argument.kind {
    case "positional": return value
    case "option": return "\(names.joined(separator: " , ")) \(value)"
    default: return names.joined(separator: " , ")
    }
  }

  private static func synopsis(_ argument: Description.Argument) -> String {
    let whole = macro(argument) + (argument.isRepeating ? " ..." : "")
    return argument.isOptional ? ".Op \(whole)" : ".\(whole)"
  }

  private static func item(_ argument: Description.Argument) -> [String] {
    var text = argument.abstract.map { [escaped($0)] } ?? []
    if let discussion = argument.discussion, !discussion.isEmpty { text.append(escaped(discussion)) }
    if let values = argument.allValues { text.append("One of: \(escaped(values.joined(separator: ", "))).") }
    if let value = argument.defaultValue { text.append("Default: \(escaped(value)).") }
    return [".It \(macro(argument))"] + text
  }

  /// Text that is no request of roff: a line begins with no dot or apostrophe, and a sentence ends its line.
  private static func escaped(_ text: String) -> String {
    text.replacing("\\", with: "\\e").replacing("-", with: "\\-").replacing("\n\n", with: "\n.Pp\n")
      .replacing(/(?<end>[.!?]) (?<next>[A-Z])/) { "\($0.output.end)\n\($0.output.next)" }
      .split(separator: "\n", omittingEmptySubsequences: false)
      .map { ($0.hasPrefix(".") && $0 != ".Pp") || $0.hasPrefix("'") ? "\\&\($0)" : String($0) }.joined(separator: "\n")
  }
}
