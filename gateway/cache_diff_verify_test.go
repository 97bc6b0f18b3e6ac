package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// diffResponse is an answer as a client reads it.
type diffResponse struct {
	*http.Response
	body []byte
	err  error // of reading the body
}

// verify compares an answer with what it may be.
func (a *diffAnswer) verify(q *diffRequest, r *diffResponse, quirks *diffQuirks) error {
	if !slices.Contains(a.says, r.Header.Get("X-Cache")) {
		return fmt.Errorf("X-Cache %q, want %q", r.Header.Get("X-Cache"), a.says)
	}
	if a.entry == nil {
		if !slices.Contains(a.statuses, r.StatusCode) {
			return fmt.Errorf("status %d, want %d", r.StatusCode, a.statuses)
		}
		return errors.Join(r.err, verifyError(q, r))
	}
	want := a.status(q, quirks)
	if !slices.Contains(want, r.StatusCode) && !(a.cut && r.StatusCode == 502) {
		return fmt.Errorf("status %d, want %d of %s with %d bytes", r.StatusCode, want, a.entry.version.name, len(a.entry.version.body))
	}
	if err := a.verifyEnd(q, r, want); err != nil {
		return err
	}
	switch r.StatusCode {
	case 200, 206:
		return errors.Join(a.verifyHead(r), a.verifyDate(r, quirks), a.verifyBody(q, r))
	case 304:
		if len(r.body) > 0 {
			return fmt.Errorf("a 304 with %d bytes", len(r.body))
		}
		return errors.Join(a.verifyHead(r), a.verifyDate(r, quirks))
	case 416:
		if got, want := r.Header.Get("Content-Range"), fmt.Sprintf("bytes */%d", len(a.entry.version.body)); got != want {
			return fmt.Errorf("Content-Range %q, want %q", got, want)
		}
	}
	return verifyError(q, r)
}

// verifyEnd checks that the body ends early if and only if the origin broke it off,
// and that a small one is not begun then.
func (a *diffAnswer) verifyEnd(q *diffRequest, r *diffResponse, want []int) error {
	length := 0
	if q.method == "GET" && (r.StatusCode == 200 || r.StatusCode == 206) {
		length = int(r.ContentLength)
	}
	switch {
	case !a.cut:
		return r.err
	case r.StatusCode == 502:
		if q.method == "GET" && (slices.Contains(want, 200) || slices.Contains(want, 206)) {
			return r.err
		}
		return fmt.Errorf("status 502, want %d", want)
	case length > 0 && r.err == nil:
		return fmt.Errorf("a body of %d bytes is complete, although the origin broke off", length)
	case length > 0 && length <= diffBuffer:
		return fmt.Errorf("a body of %d bytes is begun, although the origin broke off", length)
	}
	return nil
}

// own are the fields that are the gateway's, or the answer's and not the object's.
var own = []string{"X-Request-Id", "X-Cache", "Cache-Status", "Age", "Date", "Content-Length", "Content-Range", "Referrer-Policy", "Connection"}

func objectHead(h http.Header) http.Header {
	h = h.Clone()
	for _, name := range own {
		h.Del(name)
	}
	return h
}

// verifyHead checks that an answer has the fields of the object, and no others.
func (a *diffAnswer) verifyHead(r *diffResponse) error {
	want, got := a.entry.head.Clone(), objectHead(r.Header)
	if r.StatusCode == 304 { // RFC 9110, 15.4.5
		for name := range want {
			if !slices.Contains([]string{"Etag", "Last-Modified", "Cache-Control", "Expires"}, name) {
				want.Del(name)
			}
		}
	}
	if r.StatusCode == 206 {
		want.Del("X-Amz-Checksum-Sha1") // of the whole
	}
	if r.StatusCode == 206 && r.Header.Get("Content-Range") == "" {
		got["Content-Type"] = want["Content-Type"] // of the parts, see verifyParts
	}
	for _, h := range []http.Header{want, got} {
		for name, values := range h {
			h[name] = []string{strings.Join(values, ", ")}
		}
	}
	if fmt.Sprint(want) != fmt.Sprint(got) {
		return fmt.Errorf("the fields are\n%v, want those of %s:\n%v", got, a.entry.version.name, want)
	}
	return nil
}

// verifyDate checks that the date is the origin's, RFC 9110 section 6.6.1.
func (a *diffAnswer) verifyDate(r *diffResponse, quirks *diffQuirks) error {
	got, want := r.Header.Values("Date"), a.entry.asked.UTC().Format(http.TimeFormat)
	if a.direct && len(got) == 1 && !quirks.noDate { // of the last of several requests
		if at, err := http.ParseTime(got[0]); err == nil && at.After(a.entry.asked) && at.Before(a.entry.asked.Add(time.Minute)) {
			return nil
		}
	}
	if len(got) != 1 || !quirks.noDate && got[0] != want {
		return fmt.Errorf("Date %q, want %q", got, want)
	}
	return nil
}

// verifyError checks that an error has none of an object's fields.
func verifyError(q *diffRequest, r *diffResponse) error {
	h := objectHead(r.Header)
	h.Del("Retry-After")
	if len(h) != 1 || h.Get("Content-Type") != "application/json" {
		return fmt.Errorf("an error with the fields %v", r.Header)
	}
	if r.Header.Get("Content-Range") != "" && r.StatusCode != 416 {
		return fmt.Errorf("an error with Content-Range")
	}
	if want := fmt.Sprintf(`"status":%d,`, r.StatusCode); q.method == "GET" && !strings.Contains(string(r.body), want) {
		return fmt.Errorf("the body %.100q has no %s", r.body, want)
	}
	return nil
}

// verifyBody compares bytes.
func (a *diffAnswer) verifyBody(q *diffRequest, r *diffResponse) error {
	v := a.entry.version
	whole := r.StatusCode == 200
	if whole && r.ContentLength != int64(len(v.body)) {
		return fmt.Errorf("Content-Length %d, want %d of %s", r.ContentLength, len(v.body), v.name)
	}
	switch {
	case q.method == "HEAD":
		return nil
	case whole && r.err != nil:
		if len(r.body) >= len(v.body) || !bytes.HasPrefix(v.body, r.body) {
			return fmt.Errorf("%d bytes that are not the first of %s", len(r.body), v.name)
		}
		return nil
	case whole && !bytes.Equal(r.body, v.body):
		return fmt.Errorf("%d bytes that are not those of %s", len(r.body), v.name)
	case whole:
		return nil
	}
	return a.verifyParts(q, r)
}

// verifyParts checks that an answer has the bytes that are asked for, in their places,
// and no others; parts that are close together may be one, RFC 9110 section 15.3.7.2.
func (a *diffAnswer) verifyParts(q *diffRequest, r *diffResponse) error {
	v := a.entry.version
	size := len(v.body)
	const wanted, got = 1, 2
	seen := make([]byte, size)
	for _, p := range q.ranges {
		if first, last, ok := p.within(size); ok {
			for i := first; i <= last; i++ {
				seen[i] |= wanted
			}
		}
	}
	parts := 0
	one := func(contentRange string, b []byte) error {
		parts++
		var first, last, total int
		_, err := fmt.Sscanf(contentRange, "bytes %d-%d/%d", &first, &last, &total)
		if err != nil || total != size || first > last || last >= size || len(b) > last-first+1 || !bytes.Equal(b, v.body[first:first+len(b)]) || len(b) < last-first+1 && r.err == nil {
			return fmt.Errorf("%d bytes are not %q of %s with %d", len(b), contentRange, v.name, size)
		}
		for i := first; i <= last; i++ {
			if seen[i]&got != 0 {
				return fmt.Errorf("byte %d comes twice", i)
			}
			seen[i] |= got
		}
		return nil
	}
	if contentRange := r.Header.Get("Content-Range"); contentRange != "" {
		if err := one(contentRange, r.body); err != nil {
			return err
		}
	} else if err := eachPart(r, a.entry.head.Get("Content-Type"), one); err != nil {
		return err
	}
	surplus := 0
	for i, s := range seen {
		switch s {
		case wanted:
			return fmt.Errorf("byte %d is missing", i)
		case got:
			surplus++
		}
	}
	if surplus > boundPartGap*(len(q.ranges)-1) {
		return fmt.Errorf("%d bytes that were not asked for", surplus)
	}
	return nil
}

// eachPart calls one for each part of a multipart/byteranges answer.
func eachPart(r *diffResponse, contentType string, one func(contentRange string, b []byte) error) error {
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/byteranges" {
		return fmt.Errorf("a 206 without Content-Range, of the type %q: %v", r.Header.Get("Content-Type"), err)
	}
	for parts := multipart.NewReader(bytes.NewReader(r.body), params["boundary"]); ; {
		p, err := parts.NextRawPart()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		b, err := io.ReadAll(p)
		if err != nil {
			return err
		}
		if p.Header.Get("Content-Type") != contentType || len(p.Header) != 2 {
			return fmt.Errorf("a part with the fields %v", p.Header)
		}
		if err := one(p.Header.Get("Content-Range"), b); err != nil {
			return err
		}
	}
}

// verifyCacheFields checks Age and Cache-Status of an answer to a request between two
// moments: RFC 9111, 5.1, and RFC 9211.
func (a *diffAnswer) verifyCacheFields(r *diffResponse, from, to time.Time) error {
	says, text := r.Header.Get("X-Cache"), r.Header.Get("Age")
	cached := says == "HIT" || says == "STALE" || says == "REVALIDATED"
	age, err := strconv.Atoi(text)
	if text != "" && err != nil || text == "" && cached && a.entry != nil {
		return fmt.Errorf("Age %q", text)
	}
	if a.entry != nil && text != "" {
		least, most := int(a.entry.age(from).Seconds()), int(a.entry.age(to).Seconds())
		if age < least || age > most {
			return fmt.Errorf("Age %d, want %d to %d", age, least, most)
		}
	}
	if a.entry != nil && text == "" && a.entry.life.received > 0 && (r.StatusCode == 200 || r.StatusCode == 206) {
		return fmt.Errorf("no Age, but the origin said %v", a.entry.life.received)
	}
	status := r.Header.Get("Cache-Status")
	want, all := "yatagarasu; fwd="+a.why, false
	switch {
	case says == "HIT" && a.entry != nil:
		want, all = fmt.Sprintf("yatagarasu; hit; ttl=%d", int(a.entry.life.fresh.Seconds())-age), true
	case says == "HIT", says == "STALE" && a.why == "":
		want = "yatagarasu; hit; ttl="
	case says == "BYPASS" && a.why == "":
		want, all = "yatagarasu", true
	case says == "BYPASS":
		want, all = "yatagarasu; fwd=bypass", true
	case says == "REVALIDATED":
		want, all = want+"; fwd-status=304", true
	}
	if !strings.HasPrefix(status, want) || all && status != want {
		return fmt.Errorf("Cache-Status %q, want %q", status, want)
	}
	return nil
}
