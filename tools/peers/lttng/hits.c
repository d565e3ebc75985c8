/* A library of one function, which is built where LTTng-UST is installed. */
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "hits.h"

void record_line(unsigned int file, unsigned int line);

void record_line(unsigned int file, unsigned int line)
{
    lttng_ust_tracepoint(hits, line, file, line);
}
