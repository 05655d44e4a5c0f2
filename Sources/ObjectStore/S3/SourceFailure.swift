/// An error of the content that was to be sent: no attempt is to blame for it, and the caller gets it as it is.
struct SourceFailure: Error {
  let error: any Error
}
