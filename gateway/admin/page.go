package admin

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"strings"
	"sync"

	"github.com/valyala/fasthttp"
)

// statusHTML is the status page, scripts and styles included. It gets its data by a call of
// /admin/status.
//
//go:embed status.html
var statusHTML string

// statusPolicy returns the Content-Security-Policy of the page. It lets the page's own style
// and script run, which it knows by their hashes, and ask this listener; nothing else.
// trusted-types has the browser refuse to make elements of text.
var statusPolicy = sync.OnceValue(func() string {
	return strings.Join([]string{
		"default-src 'none'",
		"script-src " + hashOf("script"),
		"style-src " + hashOf("style"),
		"img-src data:", // its icon
		"connect-src 'self'",
		"base-uri 'none'",
		"form-action 'none'",
		"frame-ancestors 'none'",
		"require-trusted-types-for 'script'",
		"trusted-types 'none'",
	}, "; ")
})

// hashOf returns the policy's source expression for the content of the page's only element of
// this name.
func hashOf(element string) string {
	_, rest, ok := strings.Cut(statusHTML, "<"+element+">")
	content, _, ok2 := strings.Cut(rest, "</"+element+">")
	if !ok || !ok2 {
		panic("BUG: the status page has no " + element)
	}
	sum := sha256.Sum256([]byte(content))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}

// serveStatusPage answers / of the metrics listener. Everybody may have the page: its calls
// are judged as all administrative calls are.
func serveStatusPage(ctx *fasthttp.RequestCtx) {
	h := &ctx.Response.Header
	h.SetContentType("text/html; charset=utf-8")
	h.Set(fasthttp.HeaderContentSecurityPolicy, statusPolicy())
	h.Set(fasthttp.HeaderXContentTypeOptions, "nosniff")
	h.Set(fasthttp.HeaderXFrameOptions, "DENY")
	h.Set(fasthttp.HeaderReferrerPolicy, "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set(fasthttp.HeaderCacheControl, "no-cache")
	ctx.SetBodyString(statusHTML)
}
