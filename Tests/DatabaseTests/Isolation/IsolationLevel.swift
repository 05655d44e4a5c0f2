/// The default isolation level of the sessions of a run.
enum IsolationLevel: String, CaseIterable {
  case readCommitted = "read committed"
  case repeatableRead = "repeatable read"
  case serializable
}
