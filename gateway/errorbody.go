package gateway

import (
	"bytes"
	"strconv"
)

// appendErrorBody appends the body of an error: JSON, or plain text.
func appendErrorBody(dst []byte, plain bool, status int, code, message string, requestID []byte) []byte {
	if plain {
		dst = strconv.AppendInt(dst, int64(status), 10)
		dst = append(append(append(append(dst, ' '), code...), ": "...), message...)
		return append(append(append(dst, "\nrequest id: "...), requestID...), '\n')
	}
	dst = append(append(dst, `{"error":"`...), code...)
	dst = append(append(dst, `","message":"`...), message...)
	dst = strconv.AppendInt(append(dst, `","status":`...), int64(status), 10)
	dst = append(append(dst, `,"request_id":"`...), requestID...)
	return append(dst, "\"}\n"...)
}

// prefersPlain tells whether a client rather takes plain text than JSON.
func prefersPlain(accept []byte) bool {
	return bytes.Contains(accept, []byte("text/plain")) && !bytes.Contains(accept, []byte("application/json"))
}
