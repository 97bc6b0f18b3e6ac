package media

import "strings"

// known has the types of the web by extension: IANA's registry of media types, and the usage
// of browsers where that differs (WHATWG MIME Sniffing). Nothing writes to it. Text is UTF-8, as
// nearly all is; content_types.map is for the rest.
var known = table(map[string]string{
	// Pages and what they are made of.
	"text/html; charset=utf-8":       ".html .htm",
	"application/xhtml+xml":          ".xhtml",
	"text/css; charset=utf-8":        ".css",
	"text/javascript; charset=utf-8": ".js .mjs .cjs", // RFC 9239
	"application/json":               ".json .map",
	"application/ld+json":            ".jsonld",
	"application/manifest+json":      ".webmanifest",
	"application/wasm":               ".wasm",
	"text/xml; charset=utf-8":        ".xml .xsl",
	"application/rss+xml":            ".rss",
	"application/atom+xml":           ".atom",

	// Texts.
	"text/plain; charset=utf-8":                ".txt .text .log .conf .ini",
	"text/markdown; charset=utf-8":             ".md .markdown", // RFC 7763
	"text/csv; charset=utf-8":                  ".csv",
	"text/tab-separated-values; charset=utf-8": ".tsv",
	"text/vtt; charset=utf-8":                  ".vtt",
	"text/calendar; charset=utf-8":             ".ics",
	"application/yaml":                         ".yaml .yml", // RFC 9512
	"application/toml":                         ".toml",
	"application/jsonl":                        ".jsonl .ndjson",

	// Pictures.
	"image/png":     ".png",
	"image/apng":    ".apng",
	"image/jpeg":    ".jpg .jpeg .jfif",
	"image/gif":     ".gif",
	"image/webp":    ".webp",
	"image/avif":    ".avif",
	"image/heic":    ".heic",
	"image/jxl":     ".jxl",
	"image/svg+xml": ".svg",
	"image/x-icon":  ".ico .cur",
	"image/bmp":     ".bmp",
	"image/tiff":    ".tif .tiff",

	// Sound and video.
	"audio/mpeg":                    ".mp3",
	"audio/mp4":                     ".m4a",
	"audio/aac":                     ".aac",
	"audio/ogg":                     ".oga .ogg .opus",
	"audio/flac":                    ".flac",
	"audio/wav":                     ".wav",
	"audio/midi":                    ".mid .midi",
	"audio/webm":                    ".weba",
	"video/mp4":                     ".mp4 .m4v",
	"video/webm":                    ".webm",
	"video/ogg":                     ".ogv",
	"video/quicktime":               ".mov",
	"video/x-matroska":              ".mkv",
	"video/x-msvideo":               ".avi",
	"video/mpeg":                    ".mpg .mpeg",
	"video/mp2t":                    ".m2ts", // .ts is TypeScript as often
	"video/iso.segment":             ".m4s",
	"application/vnd.apple.mpegurl": ".m3u8",
	"application/dash+xml":          ".mpd",

	// Fonts, RFC 8081.
	"font/woff2":                    ".woff2",
	"font/woff":                     ".woff",
	"font/ttf":                      ".ttf",
	"font/otf":                      ".otf",
	"font/collection":               ".ttc",
	"application/vnd.ms-fontobject": ".eot",

	// Documents.
	"application/pdf":      ".pdf",
	"application/epub+zip": ".epub",
	"application/rtf":      ".rtf",
	"application/msword":   ".doc",
	"application/vnd.openxmlformats-officedocument.wordprocessingml.document": ".docx",
	"application/vnd.ms-excel": ".xls",
	"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet":         ".xlsx",
	"application/vnd.ms-powerpoint":                                             ".ppt",
	"application/vnd.openxmlformats-officedocument.presentationml.presentation": ".pptx",
	"application/vnd.oasis.opendocument.text":                                   ".odt",
	"application/vnd.oasis.opendocument.spreadsheet":                            ".ods",
	"application/vnd.oasis.opendocument.presentation":                           ".odp",

	// Archives and programs.
	"application/zip":                         ".zip",
	"application/gzip":                        ".gz .tgz", // RFC 6713
	"application/x-bzip2":                     ".bz2",
	"application/x-xz":                        ".xz",
	"application/zstd":                        ".zst", // RFC 8878
	"application/x-tar":                       ".tar",
	"application/x-7z-compressed":             ".7z",
	"application/vnd.rar":                     ".rar",
	"application/java-archive":                ".jar",
	"application/vnd.android.package-archive": ".apk",
	"application/x-apple-diskimage":           ".dmg",
	"application/vnd.debian.binary-package":   ".deb",
	"application/x-rpm":                       ".rpm",
	"application/vnd.sqlite3":                 ".sqlite .sqlite3",

	// Maps, models and data.
	"application/geo+json":                 ".geojson", // RFC 7946
	"application/vnd.mapbox-vector-tile":   ".mvt",
	"application/vnd.google-earth.kml+xml": ".kml",
	"application/gpx+xml":                  ".gpx",
	"model/gltf+json":                      ".gltf",
	"model/gltf-binary":                    ".glb",
	"model/stl":                            ".stl",
	"model/obj":                            ".obj",
	"application/vnd.apache.parquet":       ".parquet",
	"application/vnd.apache.arrow.file":    ".arrow",
})

// table returns the type of each extension.
func table(extensions map[string]string) map[string][]byte {
	all := make(map[string][]byte)
	for kind, list := range extensions {
		for _, extension := range strings.Fields(list) {
			all[extension] = []byte(kind)
		}
	}
	return all
}
