/// What somebody probably meant by a name that does not exist.
public enum Suggestion {
  /// ` (did you mean "prefix"?)` when one of the names is close, otherwise nothing.
  public static func text(for name: String, among known: [String]) -> String {
    closest(to: name, among: known).map { " (did you mean \"\($0)\"?)" } ?? ""
  }

  private static let maximumBytes = 200

  /// The name that takes the fewest edits, if they are few for its length; of several, the first.
  static func closest(to name: String, among known: [String]) -> String? {
    // Comparing takes the product of both lengths, and what is longer is no name.
    guard name.utf8.count <= maximumBytes else { return nil }
    return known.filter { $0.utf8.count <= maximumBytes }
      .map { ($0, distance(Array(name.lowercased()), Array($0.lowercased()))) }
      .filter { $0.1 <= max(1, $0.0.count / 3) }
      .min { $0.1 < $1.1 }?.0
  }

  /// Insertions, deletions, replacements and swaps of neighbours: the optimal string alignment distance.
  private static func distance(_ one: [Character], _ other: [Character]) -> Int {
    var beforeLast: [Int] = []
    var last = Array(0...other.count)
    for (row, character) in one.enumerated() {
      var current = [row + 1]
      for (column, candidate) in other.enumerated() {
        var cost = min(last[column + 1] + 1, current[column] + 1, last[column] + (character == candidate ? 0 : 1))
        if row > 0, column > 0, character == other[column - 1], one[row - 1] == candidate {
          cost = min(cost, beforeLast[column - 1] + 1)
        }
        current.append(cost)
      }
      (beforeLast, last) = (last, current)
    }
    return last[other.count]
  }
}
