/// A place where the object store and the database disagree.
public struct FsckFinding: Sendable, Equatable {
  /// What is wrong.
  public enum Kind: String, Sendable {
    /// A blob's object is not in the store: its content is lost, unless a copy of the store has it.
    case missing
    /// The object has another size than the blob.
    case wrongSize = "wrong size"
    /// The object's content has another hash.
    case damaged
    /// The store does not hand the object out, though it answers otherwise.
    case unreadable
    /// Nothing in the database knows the object, and it is older than the grace.
    case orphaned
    /// The object's name is not one that the retention gives; it is never touched.
    case foreign
  }

  /// What is wrong.
  public let kind: Kind
  /// The object's whole key.
  public let key: String
  /// Bytes: the object's, or where it is missing the blob's.
  public let size: Int64

  /// The key as one line of text: foreign ones may hold anything.
  public var shownKey: String {
    String(String.UnicodeScalarView(key.unicodeScalars.map { $0.properties.generalCategory == .control ? "?" : $0 }))
  }

  /// Whether a blob's content is in danger.
  public var isAlarming: Bool { [.missing, .wrongSize, .damaged, .unreadable].contains(kind) }
}
