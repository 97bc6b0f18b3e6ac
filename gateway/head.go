package gateway

import (
	"bytes"

	"github.com/valyala/fasthttp"
)

type headFlaw uint8

const (
	headOK headFlaw = iota
	headMalformed
	headHost
	headAuthorization
	headBody
	headExpect
)

func (f headFlaw) problem() *problem {
	switch f {
	case headBody:
		return &problem{status: fasthttp.StatusBadRequest, code: "body_not_allowed", message: "a request must not carry a body", close: true}
	case headExpect:
		return &problem{status: fasthttp.StatusExpectationFailed, code: "expectation_failed", message: "unknown expectation", close: true}
	}
	return &problem{status: fasthttp.StatusBadRequest, code: "bad_request", message: "malformed head", close: true}
}

func checkHead(raw []byte, http11 bool) headFlaw {
	hosts, auths := 0, 0
	for len(raw) > 0 {
		i := bytes.IndexByte(raw, '\n')
		if i < 0 {
			i = len(raw)
		}
		line := raw[:i]
		raw = raw[min(i+1, len(raw)):]
		if len(line) == 0 || line[len(line)-1] != '\r' {
			return headMalformed
		}
		line = line[:len(line)-1]
		if len(line) == 0 {
			continue
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || len(name) == 0 || bytes.ContainsAny(name, " \t\x00") || bytes.ContainsAny(value, "\x00\r") {
			return headMalformed
		}
		value = bytes.Trim(value, " \t")
		switch {
		case bytes.EqualFold(name, []byte("host")):
			hosts++
		case bytes.EqualFold(name, []byte("authorization")):
			auths++
		case bytes.EqualFold(name, []byte("transfer-encoding")):
			return headBody
		case bytes.EqualFold(name, []byte("content-length")):
			if string(value) != "0" {
				return headBody
			}
		case bytes.EqualFold(name, []byte("expect")):
			if !bytes.EqualFold(value, []byte("100-continue")) {
				return headExpect
			}
		}
	}
	if auths > 1 {
		return headAuthorization
	}
	if hosts > 1 || hosts == 0 && http11 {
		return headHost
	}
	return headOK
}
