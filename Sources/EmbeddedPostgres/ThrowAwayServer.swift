/// A server that this process has started and stops before it ends.
package protocol ThrowAwayServer: AnyObject, Sendable {
  /// Ends the server and removes what it has written; again, it does nothing.
  func stop()
}
