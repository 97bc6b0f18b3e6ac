package request

import (
	"github.com/valyala/fasthttp"

	"yatagarasu/cache"
)

// ReadControl sets c to what the Cache-Control of a head says, or its Pragma if there is none.
func ReadControl(c *cache.Control, h *fasthttp.RequestHeader) {
	c.Reset()
	lines := h.PeekAll(fasthttp.HeaderCacheControl)
	for _, line := range lines {
		cache.ParseControl(c, line)
	}
	if len(lines) == 0 {
		for _, line := range h.PeekAll(fasthttp.HeaderPragma) {
			cache.ParsePragma(c, line)
		}
	}
}
