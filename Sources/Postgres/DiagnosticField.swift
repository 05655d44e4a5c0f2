import CLibPQ

/// The fields of an error or notice, by the codes of the protocol.
///
/// They are spelled out because Swift does not import C macros of character constants (`PG_DIAG_*`).
/// Source: PostgreSQL manual, section 55.8, Error and Notice Message Fields.
enum DiagnosticField: Unicode.Scalar {
  case severity = "V"
  case sqlState = "C"
  case message = "M"
  case detail = "D"
  case hint = "H"
  case position = "P"
  case context = "W"

  func value(in result: OpaquePointer) -> String? {
    PQresultErrorField(result, Int32(rawValue.value)).map { String(cString: $0) }
  }
}
