/* The tracepoint hits:line, as LTTng-UST wants it: this header is read several times. */
#undef LTTNG_UST_TRACEPOINT_PROVIDER
#define LTTNG_UST_TRACEPOINT_PROVIDER hits

#undef LTTNG_UST_TRACEPOINT_INCLUDE
#define LTTNG_UST_TRACEPOINT_INCLUDE "./hits.h"

#if !defined(HITS_H) || defined(LTTNG_UST_TRACEPOINT_HEADER_MULTI_READ)
#define HITS_H
#include <lttng/tracepoint.h>

LTTNG_UST_TRACEPOINT_EVENT(
    hits, line,
    LTTNG_UST_TP_ARGS(unsigned int, file, unsigned int, line),
    LTTNG_UST_TP_FIELDS(
        lttng_ust_field_integer(unsigned int, file, file)
        lttng_ust_field_integer(unsigned int, line, line)
    )
)
#endif

#include <lttng/tracepoint-event.h>
