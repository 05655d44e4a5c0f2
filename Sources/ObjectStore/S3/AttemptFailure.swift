/// Why one attempt failed, and whether another one may succeed.
struct AttemptFailure: Error {
  var error: ObjectStoreError
  let isTransient: Bool
  var retryAfter: Duration?
}
