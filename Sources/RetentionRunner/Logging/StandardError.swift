import Foundation

/// Standard error, for words that may be lost: neither a full disk nor a reader that has gone ends the work they tell of.
public enum StandardError {
  /// Writes a text with the line ends and control characters that it needs.
  public static func write(_ text: String) {
    // Its sibling without `contentsOf` ends the process where nothing can be written.
    try? FileHandle.standardError.write(contentsOf: Data(text.utf8))
  }
}
