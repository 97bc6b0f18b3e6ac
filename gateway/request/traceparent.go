package request

// Traceparent is the value of a header traceparent (W3C Trace Context, section 3.2). It is
// empty or well formed.
type Traceparent []byte

// Offsets in VERSION-TRACE-SPAN-FLAGS, and its length.
const (
	TraceLength = len("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	traceID     = 3
	traceSpan   = 36
	traceFlags  = 53
)

// WellFormedTrace tells whether v is a Traceparent. Later versions may have more behind it.
func WellFormedTrace(v []byte) bool {
	if len(v) < TraceLength || v[2] != '-' || v[35] != '-' || v[52] != '-' || v[0] == 'f' && v[1] == 'f' {
		return false
	}
	if len(v) > TraceLength && (v[0] == '0' && v[1] == '0' || v[TraceLength] != '-') {
		return false
	}
	const hex = "0123456789abcdef"
	return consistsOf(v[:2], hex) && consistsOf(v[traceID:35], hex) && consistsOf(v[traceSpan:52], hex) && consistsOf(v[traceFlags:TraceLength], hex) &&
		!consistsOf(v[traceID:35], "0") && !consistsOf(v[traceSpan:52], "0")
}

// ID returns the id of the trace.
func (t Traceparent) ID() []byte { return t[traceID:35] }

// Span returns the id of the caller's span in it.
func (t Traceparent) Span() []byte { return t[traceSpan:52] }
